package main

import (
	"fmt"

	"autoresearchd/metrics/name"
)

// well is the row that says whether the service and its machine are well.
func well() []panel {
	const alerts = `ALERTS{alertname=~"Autoresearch.+",alertstate="firing"}`
	return []panel{
		stat("Answers", "Whether Prometheus reaches the daemon.", "bool_yes_no", good(1), line{of("up"), "{{instance}}"}),
		stat("Firing alerts", "Alerts of autoresearchd that fire now; the runbook is configs/prometheus/RUNBOOK.md.", "short", bad(1),
			line{"count(" + alerts + ") or vector(0)", "alerts"}),
		stat("Candidates", "Decided candidates of the study; each has one run or more.", "short", plain(), line{"sum by (instance) (" + of(name.Decisions) + ")", "{{instance}}"}),
		stat("Runs an hour", "Of the last hour.", "short", plain(), line{"sum by (instance) (increase(" + of(name.Trials) + recent + "))", "{{instance}}"}).digits(1),
		stat("Duty", "Counted training time over wall time, since the daemon started.", "percentunit", plain(), line{of(name.Duty), "{{instance}}"}),
		stat("Since the last trial ended", "Longer than two budgets is a stall, unless the study is paused or over.", "s", plain(),
			line{"time() - " + of(name.LastTrial), "{{instance}}"}),

		graph("Runs an hour, duty", "Runs of the hour before each moment (left), and the share of wall time that is counted training (right).", "short",
			line{"sum by (instance) (increase(" + of(name.Trials) + recent + "))", "runs an hour {{instance}}"},
			line{of(name.Duty), "duty {{instance}}"}).from(0).right("duty", "percentunit"),
		graph("Seats", "How many are in each state.", "short",
			line{"sum by (state) (" + of(name.SeatState) + ")", "{{state}}"}).from(0).stacked().paint("quarantined", "red"),
		graph("Phase times", "Mean time in each phase of the trials that ended in the hour before.", "s",
			line{"sum by (phase) (rate(" + of(name.PhaseSeconds+"_sum") + recent + ")) / sum by (phase) (rate(" + of(name.PhaseSeconds+"_count") + recent + ") > 0)", "{{phase}}"}).from(0).stacked(),

		graph("Failure mix", "Runs without a score, by what ended them, in the hour before.", "short",
			line{"sum by (status) (increase(" + of(name.Trials, `status!="completed"`) + recent + "))", "{{status}}"}).from(0).stacked(),
		graph("Watchdog kills", "Kills in the hour before, by phase and deadline, and the slowest of them to be over.", "short",
			line{"sum by (phase, cause) (increase(" + of(name.Kills) + recent + "))", "{{phase}}: {{cause}}"},
			line{"histogram_quantile(1, sum by (le) (rate(" + of(name.KillSeconds+"_bucket") + recent + ")))", "slowest"}).from(0).right("slowest", "s"),
		graph("Journal and search", "Time of a durable write, and of a strategy's answer: 99th and 90th percentile of the hour before.", "s",
			line{quantile(0.99, name.JournalWrites, "instance"), "journal {{instance}}"},
			line{quantile(0.9, name.AskSeconds, "strategy"), "asking {{strategy}}"}).from(0),

		graph("GPU memory", "In use by all processes, of them by the running trials, and in all. 0:1 is a MIG instance of GPU 0.", "bytes",
			line{ofGPU(name.GPUUsed), "used {{gpu}}"},
			line{"sum by (instance, gpu) (" + ofGPU(name.TrialGPU) + ")", "trials {{gpu}}"},
			line{ofGPU(name.GPUTotal), "total {{gpu}}"}).from(0),
		graph("GPU use", "Share of time in which a kernel ran, and GPUs in quarantine.", "percentunit",
			line{ofGPU(name.GPUUtilization), "{{gpu}}"},
			line{ofGPU(name.GPUQuarantined) + " == 1", "quarantined {{gpu}}"}).from(0).to(1).paint("quarantined", "red"),
		graph("GPU power and temperature", "Draw in watts (left), temperature of the core (right).", "watt",
			line{ofGPU(name.GPUPower), "power {{gpu}}"},
			line{ofGPU(name.GPUTemperature), "temperature {{gpu}}"}).from(0).right("temperature", "celsius"),

		graph("Room on disk", "Where the state directory lies.", "bytes",
			line{of(name.DiskFree), "free {{instance}}"},
			line{of(name.DiskSize), "size {{instance}}"}).from(0),
		graph("The daemon", "Its own memory and processor time; trainers are apart.", "bytes",
			line{of("process_resident_memory_bytes"), "memory {{instance}}"},
			line{"rate(" + of("process_cpu_seconds_total") + "[$__rate_interval])", "processor {{instance}}"}).from(0).right("processor", "percentunit"),
		graph("Configuration", "1 where the last reload was taken, 0 where it was refused.", "short",
			line{of(name.ReloadOK), "{{instance}}"}).from(0).to(1).stairs(),
	}
}

// seats is the row that says what the chosen seats do.
func seats() []panel {
	return []panel{
		graph("Phases", "How many trials are in each phase; what waits at a gate does so beside its neighbour's evaluation.", "short",
			line{"sum by (phase) (" + ofSeat(name.TrialPhase) + ")", "{{phase}}"}).from(0).stacked(),
		graph("Duty of seats", "Share of the hour before in which the seat's trial trained.", "percentunit",
			line{ofSeat("seat:autoresearch_training:ratio_1h"), "{{seat}} {{instance}}"}).from(0).to(1),
		graph("Progress", "Share of the running trial's budget that is spent.", "percentunit",
			line{ofSeat(name.TrialProgress), "{{seat}} {{instance}}"}).from(0).to(1),

		graph("Training loss", "Of the running trials, as their script prints it.", "none", line{ofSeat(name.TrainLoss), "{{seat}} {{instance}}"}),
		graph("Throughput and MFU", "Training tokens a second (left) and model FLOPs utilisation (right) of the running trials.", "short",
			line{ofSeat(name.Throughput), "tokens/s {{seat}} {{instance}}"},
			line{ofSeat(name.MFU), "MFU {{seat}} {{instance}}"}).from(0).right("MFU", "percentunit"),
		graph("VRAM of trials", "Peak of the seat's running trial, else of its last, by NVML.", "bytes", line{ofSeat(name.TrialPeakVRAM), "{{seat}} {{instance}}"}).from(0),
	}
}

// found is the row that says what the study has bought.
func found() []panel {
	gain := "(" + of(name.BaselineValBPB) + " - " + of(name.BestValBPB) + ")"
	// A candidate has its point where the count of its decision rises.
	risen := fmt.Sprintf("(%s > %s offset $__interval)", of(name.Decisions), of(name.Decisions))
	return []panel{
		stat("Best val_bpb", "Bits per byte of the champion, the mean of its runs.", "none", plain(), line{of(name.BestValBPB), "{{instance}}"}).digits(6),
		stat("Gain", "Bits per byte below the baseline.", "none", plain(), line{gain, "{{instance}}"}).digits(6),
		stat("Confirmed", "Whether the champion's gain is confirmed on paired seeds.", "bool_yes_no", plain(), line{of(name.Confirmed), "{{instance}}"}),
		stat("Kept", "Candidates that became the champion.", "short", plain(), line{of(name.Decisions, `decision="keep"`), "{{instance}}"}),
		stat("Since the last keep", "Time without a new champion.", "s", plain(), line{"time() - " + of(name.LastKeep), "{{instance}}"}),
		stat("Champion", "The champion's commit.", "none", plain(), line{of(name.Champion), "{{commit}}"}).named(),

		graph("Best so far", "The champion's score, and the baseline.", "none",
			line{of(name.BestValBPB), "best {{instance}}"},
			line{of(name.BaselineValBPB), "baseline {{instance}}"}).digits(4).stairs().wide(12).paint("baseline", "text"),
		graph("Score of every candidate", "The mean of its runs, by decision. Of candidates that were decided between two points of the picture the last is drawn.", "none",
			line{of(name.DecisionValBPB) + " and " + risen, "{{decision}} {{instance}}"}).digits(4).points().wide(12).paint("keep", "green").paint("discard", "gray").paint("crash", "red"),

		graph("Gain", "Of the champion, confirmed or not, and what is claimed of it: the last confirmed gain with its 95 % interval. All are bits per byte below the baseline.", "none",
			line{gain, "champion {{instance}}"},
			line{of(name.ClaimedGain), "claimed {{instance}}"},
			line{of(name.ClaimedGainLow), "low {{instance}}"},
			line{of(name.ClaimedGainHigh), "high {{instance}}"}).digits(5).stairs().paint("low", "text").paint("high", "text"),
		graph("Gain per GPU-hour", "Bits per byte below the baseline, for each hour that seats have run trials.", "none",
			line{gain + " / (" + of(name.WallSeconds) + " / 3600 > 0)", "{{instance}}"}).digits(5).from(0),
		graph("Trials by strategy", "Share of the runs of the hour before; confirm is a candidate's further runs.", "percentunit",
			line{"sum by (strategy) (increase(" + of(name.Trials) + recent + ")) / on () group_left () (sum(increase(" + of(name.Trials) + recent + ")) > 0)", "{{strategy}}"}).from(0).to(1).stacked(),
		graph("Yield of strategies", "Kept candidates by the trials that a strategy proposed, over the study, and the portfolio's weight of it.", "percentunit",
			line{"sum by (strategy) (" + of(name.StrategyKeeps) + ") / (sum by (strategy) (" + of(name.Trials) + ") > 0)", "kept {{strategy}}"},
			line{of(name.Weight), "weight {{strategy}}"}).from(0).to(1).wide(12),

		graph("Tokens", "Training tokens of all runs.", "short", line{of(name.Tokens), "{{instance}}"}).from(0).wide(12),

		graph("Model cost", "Dollars that language models have cost the study, the cap, and what the daemon has spent since its start by model.", "currencyUSD",
			line{of(name.LLMStudy), "study {{instance}}"},
			line{of(name.LLMCap), "cap {{instance}}"},
			line{of(name.LLMCost), "{{model}}"}).from(0).paint("cap", "red").wide(12),
		graph("Model requests", "Requests in the hour before by outcome, tokens by kind, and the 90th percentile of a request's time.", "short",
			line{"sum by (model, outcome) (increase(" + of(name.LLMRequests) + recent + "))", "{{model}}: {{outcome}}"},
			line{"sum by (kind) (increase(" + of(name.LLMTokens) + recent + "))", "tokens {{kind}}"},
			line{quantile(0.9, name.LLMSeconds, "model"), "time {{model}}"}).from(0).right("tokens", "short").right("time", "s").wide(12),
	}
}

// right moves series whose name begins so to an axis of their own.
func (p panel) right(series, unit string) panel {
	p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, override{
		matcher{"byRegexp", "/^" + series + "/"}, []property{{"unit", unit}, {"custom.axisPlacement", "right"}},
	})
	return p
}

// named shows the series' name instead of its value.
func (p panel) named() panel {
	o := p.Options.(statOptions)
	o.TextMode = "name"
	p.Options = o
	return p
}
