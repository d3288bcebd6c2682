package trainer

import (
	"strings"
	"testing"

	"autoresearchd/search"
)

// TestWorkCannotHide has scripts do more than their budget where neither its
// seconds nor its steps are counted by them.
func TestWorkCannotHide(t *testing.T) {
	const end = "\nevaluate_bpb(1.5, None, 4)\n"
	many := "many = [Optimizer() for _ in range(100)]\ndef all():\n    next(batches)\n    for o in many:\n        o.step()\n"
	for name, c := range map[string]struct {
		budget search.Budget
		script string
		status search.Status
		detail string
	}{
		"two optimizers":                {search.Budget{Steps: 5, Uncounted: 3}, "other = Optimizer()\nfor _ in range(7):\n    train(1); other.step()", search.Completed, ""},
		"an optimizer a parameter":      {search.Budget{Steps: 5, Uncounted: 3}, many + "for _ in range(6):\n    all()", search.Completed, ""},
		"batches drawn ahead":           {search.Budget{Steps: 5, Uncounted: 3}, "held = [next(batches) for _ in range(8)]\ntrain(6)", search.Completed, ""},
		"a small first batch":           {search.Budget{Steps: 5, Uncounted: 3}, "train(3)\nfor _ in range(4):\n    next(batches); next(batches); train(1)", search.Completed, ""},
		"the same batch, many steps":    {search.Budget{Steps: 5, Uncounted: 3}, "for _ in range(500):\n    optimizer.step()\ntrain(5)", search.TimedOut, "it took more than the 5 optimizer steps of its budget after the first 3"},
		"many optimizers at first":      {search.Budget{Steps: 5, Uncounted: 3}, many + "all()\ntrain(6)", search.Tampered, "its optimizers stepped 102 times in the 3 steps that do not count, and 1.0 times in each of the 4 that do"},
		"many batches at first":         {search.Budget{Steps: 5, Uncounted: 3}, "for _ in range(100):\n    next(batches)\ntrain(6)", search.Tampered, "it drew 3296 tokens in the 3 steps that do not count, and 32 in each of the 3 that do"},
		"nothing but batches at first":  {search.Budget{Steps: 5, Uncounted: 3}, "for _ in range(100):\n    next(batches)\nfor _ in range(6):\n    optimizer.step()", search.Tampered, "and none in the"},
		"on after the last step":        {search.Budget{Seconds: 0.5, Uncounted: 3}, "train(20)\ntime.sleep(0.1)\ntrain(1)\ntime.sleep(11)", search.TimedOut, "it trained for more than its budget of 0.5s: "},
		"on between evaluations":        {search.Budget{Seconds: 0.5, Uncounted: 3}, "train(20)\nfor _ in range(3):\n    evaluate_bpb(1.5, None, 4)\n    time.sleep(5)", search.TimedOut, "it trained for more than its budget of 0.5s: "},
		"the same seconds evaluating":   {search.Budget{Seconds: 0.5, Uncounted: 3}, "train(20)\nfor _ in range(3):\n    evaluate_bpb(lambda _: time.sleep(2) or 1.5, None, 4)", search.Completed, ""},
		"the same seconds, not counted": {search.Budget{Seconds: 0.5, Uncounted: 3}, "train(1)\ntime.sleep(4)\ntrain(20)", search.Completed, ""},
		"on after so many steps":        {search.Budget{Steps: 5, Uncounted: 3}, "train(8)\ntime.sleep(8)", search.TimedOut, "it went on for "},
		"evaluations after so many":     {search.Budget{Steps: 5, Uncounted: 3}, "train(8)\nfor _ in range(4):\n    evaluate_bpb(lambda _: time.sleep(2) or 1.5, None, 4)", search.Completed, ""},
		"no second is seen":             {search.Budget{Seconds: 0.5, Uncounted: 3}, "time.sleep(4)", search.TimedOut, "no step was seen or printed in the "},
		"no step is seen":               {search.Budget{Steps: 5, Uncounted: 3}, "", search.TimedOut, "no step was seen or printed before its evaluation"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			script := strings.Replace(training, "train(1)\n", "", 1) + c.script + end
			out := beside(t, options(t), nil, script, func(t *search.Trial) { t.Budget = c.budget })
			if out.Status != c.status || !strings.Contains(out.Detail, c.detail) || (out.ValBPB == 1.5) != (c.status == search.Completed) {
				t.Errorf("%s with %v: %s", out.Status, out.ValBPB, out.Detail)
			}
		})
	}
}

// TestStepsRunForward has a script write a frame of its own.
func TestStepsRunForward(t *testing.T) {
	out := beside(t, options(t), nil, training+`train(20)
import fcntl, json, os, struct
words = json.dumps({"kind": "step", "step": 2}).encode()
for fd in range(700, 800):
    try:
        if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            continue
        os.write(fd, struct.pack(">I", len(words)) + words)
    except OSError:
        pass
evaluate_bpb(1.5, None, 4)
`)
	if out.Status != search.Tampered || !strings.Contains(out.Detail, "step 2 came after step ") {
		t.Errorf("%s: %s", out.Status, out.Detail)
	}
}
