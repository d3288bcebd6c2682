package record

import "testing"

func TestLabel(t *testing.T) {
	for in, want := range map[string]string{
		"TOTAL_BATCH_SIZE 2**13 -> 2**12":                                    "batch 2¹³ → 2¹²",
		"DEVICE_BATCH_SIZE 64 -> 128, DEPTH 8 -> 9":                          "device batch 64 → 128, depth 8 → 9",
		"suggested: MATRIX_LR 0.04 -> 0.052":                                 "matrix LR 0.04 → 0.052",
		"MATRIX_LR 0.04 -> 0.0523819283, x":                                  "matrix LR 0.04 → 0.0524, x",
		"ADAM_BETAS (0.8, 0.95) -> (0.8, 0.9712345)":                         "adam betas (0.8, 0.95) → (0.8, 0.971)",
		`WINDOW_PATTERN "SSSL" -> "L"`:                                       `window pattern "SSSL" → "L"`,
		"UNEMBEDDING_LR 4.1234567e-05 -> 1e-05":                              "unembedding LR 4.12e-05 → 1e-05",
		"SIZE 3 -> 4":                                                        "size 3 → 4",
		"baseline":                                                           "baseline",
		"try rotary_base(50000), which helped models of this size -> better": "try rotary_base(50000), which helped models of this size -> better",
		"DROPOUT = 0.1 (new)":                                                "DROPOUT = 0.1 (new)",
		"":                                                                   "",
	} {
		if got := Label(in); got != want {
			t.Errorf("%q is labelled %q, want %q", in, got, want)
		}
	}
}
