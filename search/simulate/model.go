package simulate

import (
	"math"
	"math/rand/v2"
	"strings"

	"autoresearchd/search"
)

// NewTask models upstream's train.py. val_bpb is a floor plus a bent term for
// each constant around an optimum that seed places, with the interactions that
// the real task has: the best learning rate moves with the batch, width and
// depth trade, a wide model and a large device batch run out of memory, a
// batch that the device batch does not divide crashes, high rates diverge.
// Learning rates start off by a factor of 2 to 4, either way.
func NewTask(seed uint64, noise float64) Task {
	r := rand.New(rand.NewPCG(seed, 0x7461736b))
	off := map[string]float64{} // log2 of the optimum over the start, or a difference
	for _, name := range []string{"EMBEDDING_LR", "UNEMBEDDING_LR", "MATRIX_LR", "SCALAR_LR"} {
		off[name] = (1 + r.Float64()) * float64(r.IntN(2)*2-1)
	}
	off["TOTAL_BATCH_SIZE"] = float64(-r.IntN(3))
	off["WEIGHT_DECAY"] = 2*r.Float64() - 1
	off["BETA0"], off["BETA1"] = 1.5*r.Float64()-0.75, 1.5*r.Float64()-0.75
	off["WARMUP_RATIO"], off["WARMDOWN_RATIO"], off["FINAL_LR_FRAC"] = 0.1*r.Float64(), 0.5+0.4*r.Float64(), 0.1*r.Float64()
	off["DEPTH"], off["ASPECT_RATIO"] = math.Log2((7+4*r.Float64())/8), 0.6*r.Float64()-0.3
	weight := map[string]float64{}
	for name := range map[string]bool{"EMBEDDING_LR": true, "UNEMBEDDING_LR": true, "MATRIX_LR": true, "SCALAR_LR": true} {
		weight[name] = 0.0015
	}
	weight["MATRIX_LR"], weight["SCALAR_LR"] = 0.004, 0.0008
	task := Task{Name: "hopper", Lines: Upstream(), Noise: noise, Floor: 0.97}
	task.True = func(v map[string]search.Value) (float64, search.Status) {
		log2 := func(name string, start float64) float64 { return math.Log2(v[name].Number() / start) }
		logit := func(x float64) float64 { return math.Log(x / (1 - x)) }
		batch, depth, aspect := log2("TOTAL_BATCH_SIZE", 1<<19), log2("DEPTH", 8), log2("ASPECT_RATIO", 64)
		device := log2("DEVICE_BATCH_SIZE", 128)
		if v["TOTAL_BATCH_SIZE"].Whole()%(v["DEVICE_BATCH_SIZE"].Whole()*2048) != 0 {
			return 0, search.Crashed
		}
		if 45*math.Pow(2, 1.6*depth+0.9*aspect+0.95*device) > 80 {
			return 0, search.OutOfMemory
		}
		if log2("MATRIX_LR", 0.04) > off["MATRIX_LR"]+2.2 {
			return 0, search.Diverged
		}
		bend := func(x float64) float64 { return math.Min(x*x, 2+2*math.Abs(x)) }
		sum := 0.9700
		for _, name := range []string{"EMBEDDING_LR", "UNEMBEDDING_LR", "MATRIX_LR", "SCALAR_LR"} {
			start := map[string]float64{"EMBEDDING_LR": 0.6, "UNEMBEDDING_LR": 0.004, "MATRIX_LR": 0.04, "SCALAR_LR": 0.5}[name]
			sum += weight[name] * bend(log2(name, start)-off[name]-0.4*(batch-off["TOTAL_BATCH_SIZE"]))
		}
		sum += 0.005 * bend(batch-off["TOTAL_BATCH_SIZE"])
		sum += 0.0012 * bend(log2("WEIGHT_DECAY", 0.2)-off["WEIGHT_DECAY"])
		betas := v["ADAM_BETAS"].Items()
		sum += 0.0015 * bend(logit(betas[0].Number())-logit(0.8)-off["BETA0"])
		sum += 0.0015 * bend(logit(betas[1].Number())-logit(0.95)-off["BETA1"])
		sum += 0.002 * bend(5*(v["WARMUP_RATIO"].Number()-off["WARMUP_RATIO"]))
		sum += 0.004 * bend(3*(v["WARMDOWN_RATIO"].Number()-off["WARMDOWN_RATIO"]))
		sum += 0.002 * bend(6*(v["FINAL_LR_FRAC"].Number()-off["FINAL_LR_FRAC"]))
		sum += 0.02*bend(depth-off["DEPTH"]+0.5*aspect) + 0.015*bend(aspect-off["ASPECT_RATIO"])
		sum += 0.001*math.Abs(log2("HEAD_DIM", 128)) + 0.0006*math.Abs(device)
		long := strings.Count(v["WINDOW_PATTERN"].Text(), "L")
		sum += 0.003 * math.Abs(float64(long)/float64(len(v["WINDOW_PATTERN"].Text()))-0.2)
		return sum, search.Completed
	}
	return task
}

// Cpu is the task as the starter's cpu profile has it: a small model, a few
// steps of a large batch, so that the batch matters most.
func Cpu(seed uint64, noise float64) Task {
	task := NewTask(seed, noise)
	task.Name, task.Floor = "cpu", 2.1
	f, n := search.FloatValue, search.IntValue
	task.Lines = []Line{
		{"DEPTH", "2", n(2), "layers"},
		{"MODEL_DIM", "64", n(64), "width"},
		{"HEAD_DIM", "32", n(32), ""},
		{"WINDOW_PATTERN", `"SSSSL"`, search.StringValue("SSSSL"), "attention per layer, repeated: S short window, L all before; the last layer is L"},
		{"TOTAL_BATCH_SIZE", "8192", n(8192), "tokens per optimizer step"},
		{"DEVICE_BATCH_SIZE", "32", n(32), "sequences per forward pass"},
		{"MATRIX_LR", "0.04", f(0.04), "Muon"},
		{"EMBEDDING_LR", "0.9", f(0.9), "AdamW"},
		{"UNEMBEDDING_LR", "0.005", f(0.005), "AdamW"},
		{"WEIGHT_DECAY", "0.2", f(0.2), ""},
		{"WARMDOWN_RATIO", "0.75", f(0.75), ""},
	}
	r := rand.New(rand.NewPCG(seed, 0x637075))
	off := []float64{1 + r.Float64(), (1 + r.Float64()) * float64(r.IntN(2)*2-1), (1 + r.Float64()) * float64(r.IntN(2)*2-1)}
	task.True = func(v map[string]search.Value) (float64, search.Status) {
		log2 := func(name string, start float64) float64 { return math.Log2(v[name].Number() / start) }
		if v["TOTAL_BATCH_SIZE"].Whole()%(v["DEVICE_BATCH_SIZE"].Whole()*128) != 0 {
			return 0, search.Crashed
		}
		batch := log2("TOTAL_BATCH_SIZE", 8192)
		sum := 2.1 + 0.05*math.Pow(batch+1.5, 2) + 0.01*math.Abs(log2("DEVICE_BATCH_SIZE", 32))
		for i, name := range []string{"MATRIX_LR", "EMBEDDING_LR", "UNEMBEDDING_LR"} {
			start := []float64{0.04, 0.9, 0.005}[i]
			sum += 0.02 * math.Pow(log2(name, start)-off[i]-0.4*(batch+1.5), 2)
		}
		sum += 0.04*math.Pow(log2("MODEL_DIM", 64)-0.3, 2) + 0.03*math.Pow(log2("DEPTH", 2), 2)
		return sum + 0.003*math.Pow(log2("WEIGHT_DECAY", 0.2), 2) + 0.02*math.Pow(v["WARMDOWN_RATIO"].Number()-0.6, 2), search.Completed
	}
	return task
}
