// Package name holds the names of autoresearchd's metrics, for those who show
// them as for the one who exposes them.
package name

// The metrics of /metrics. Help texts and labels are in package metrics.
const (
	ValBPB         = "autoresearch_val_bpb"
	BestValBPB     = "autoresearch_best_val_bpb"
	BaselineValBPB = "autoresearch_baseline_val_bpb"
	DecisionValBPB = "autoresearch_decision_val_bpb" // {decision}

	ClaimedGain     = "autoresearch_claimed_gain_bpb"
	ClaimedGainLow  = "autoresearch_claimed_gain_bpb_low"
	ClaimedGainHigh = "autoresearch_claimed_gain_bpb_high"
	Confirmed       = "autoresearch_champion_confirmed"

	Trials        = "autoresearch_trials_total"    // {status,strategy}
	Decisions     = "autoresearch_decisions_total" // {decision}
	StrategyKeeps = "autoresearch_strategy_keeps_total"
	Tokens        = "autoresearch_tokens_total"
	WallSeconds   = "autoresearch_trial_wall_seconds_total"
	LastTrial     = "autoresearch_last_trial_timestamp_seconds"
	LastKeep      = "autoresearch_last_keep_timestamp_seconds"
	Duty          = "autoresearch_duty_ratio"
	ActiveSince   = "autoresearch_study_active_since_timestamp_seconds"
	TrialBudget   = "autoresearch_trial_budget_seconds"
	TrialLimit    = "autoresearch_trial_limit_seconds"

	SeatState     = "autoresearch_seat_state"                    // {seat,state}
	SeatInfo      = "autoresearch_seat_info"                     // {seat,host,device,class}, of seats on other machines; not in All
	TrialRunning  = "autoresearch_trial_running"                 // {seat}
	TrialPhase    = "autoresearch_trial_phase_info"              // {seat,phase}
	TrialStart    = "autoresearch_trial_start_timestamp_seconds" // {seat}
	TrialProgress = "autoresearch_trial_progress_ratio"          // {seat}
	TrainLoss     = "autoresearch_train_loss"                    // {seat}
	Throughput    = "autoresearch_throughput_tokens_per_second"  // {seat}
	MFU           = "autoresearch_mfu_ratio"                     // {seat}
	TrialPeakVRAM = "autoresearch_trial_peak_vram_bytes"         // {seat}
	TrialGPU      = "autoresearch_trial_gpu_memory_bytes"        // {seat,gpu}

	PhaseSeconds  = "autoresearch_trial_phase_seconds"   // {phase}, histogram
	Kills         = "autoresearch_watchdog_kills_total"  // {phase,cause}
	KillSeconds   = "autoresearch_watchdog_kill_seconds" // histogram
	AskSeconds    = "autoresearch_search_ask_seconds"    // {strategy}, histogram
	JournalWrites = "autoresearch_journal_write_seconds" // histogram
	Weight        = "autoresearch_strategy_weight"       // {strategy}
	Champion      = "autoresearch_champion_info"         // {commit}
	Build         = "autoresearch_build_info"            // {version,revision,goversion,python}
	DiskFree      = "autoresearch_state_disk_free_bytes"
	DiskSize      = "autoresearch_state_disk_size_bytes"
	ReloadOK      = "autoresearch_config_last_reload_successful"
	ReloadTime    = "autoresearch_config_reload_success_timestamp_seconds"

	GPUUsed        = "autoresearch_gpu_memory_used_bytes"   // {gpu}
	GPUTotal       = "autoresearch_gpu_memory_total_bytes"  // {gpu}
	GPUUtilization = "autoresearch_gpu_utilization_ratio"   // {gpu}
	GPUPower       = "autoresearch_gpu_power_watts"         // {gpu}
	GPUTemperature = "autoresearch_gpu_temperature_celsius" // {gpu}
	GPUInfo        = "autoresearch_gpu_info"                // {gpu,uuid,name,driver}
	GPUQuarantined = "autoresearch_gpu_quarantined"         // {gpu}

	LLMEnabled  = "autoresearch_llm_enabled"
	LLMRequests = "autoresearch_llm_requests_total"       // {model,outcome}
	LLMFailures = "autoresearch_llm_consecutive_failures" // {model}
	LLMTokens   = "autoresearch_llm_tokens_total"         // {model,kind}
	LLMCost     = "autoresearch_llm_cost_dollars_total"   // {model}
	LLMSeconds  = "autoresearch_llm_request_seconds"      // {model}, histogram
	LLMStudy    = "autoresearch_llm_study_cost_dollars"
	LLMCap      = "autoresearch_llm_cost_cap_dollars"
)

// All lists them.
var All = []string{
	ValBPB, BestValBPB, BaselineValBPB, DecisionValBPB, ClaimedGain, ClaimedGainLow, ClaimedGainHigh, Confirmed,
	Trials, Decisions, StrategyKeeps, Tokens, WallSeconds, LastTrial, LastKeep, Duty, ActiveSince, TrialBudget, TrialLimit,
	SeatState, TrialRunning, TrialPhase, TrialStart, TrialProgress, TrainLoss, Throughput, MFU, TrialPeakVRAM, TrialGPU,
	PhaseSeconds, Kills, KillSeconds, AskSeconds, JournalWrites, Weight, Champion, Build, DiskFree, DiskSize, ReloadOK, ReloadTime,
	GPUUsed, GPUTotal, GPUUtilization, GPUPower, GPUTemperature, GPUInfo, GPUQuarantined,
	LLMEnabled, LLMRequests, LLMFailures, LLMTokens, LLMCost, LLMSeconds, LLMStudy, LLMCap,
}
