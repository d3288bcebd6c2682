package main

// fault is one that must be survived. Its ways are all tried: a test is written
// "package.Test" or "package.Test/part", a drill "script part". The parts of
// TestTranscripts are the files of daemon/supervisor/testdata.
type fault struct {
	number int
	what   string
	ways   []string
}

const (
	autoresearchd = "daemon/autoresearchd."
	trainer       = "daemon/trainer."
	supervisor    = "daemon/supervisor."
	journal       = "daemon/journal."
	lineage       = "daemon/lineage."

	// inARow has every fault of a script as a candidate of one study: its status,
	// one row, no process left, the next trial begins, /metrics answers.
	inARow = autoresearchd + "TestFaultsInARow"
	hang   = trainer + "TestHangsAreKilled/"
	ending = trainer + "TestEndings/"
	played = supervisor + "TestTranscripts/"
	// trespass has one trial try all of it, in a sandbox and without one, as each
	// user that a daemon may run as.
	trespass = trainer + "TestTrespasses"
	gpu      = "scripts/gpu.sh "
	booted   = "scripts/drills/service.sh "
	told     = "scripts/redteam/lies.py "   // by scripts/test.sh lies
	tried    = "scripts/redteam/honest.py " // the same
)

var faults = []fault{
	// Watchdog
	{1, "an endless loop → killed at its deadline, timed out", []string{hang + "01 endless loop", inARow}},
	{2, "an endless sleep → the same", []string{hang + "02 endless sleep", inARow}},
	{3, "a loop that swallows BaseException → the same", []string{hang + "03 swallows BaseException", inARow}},
	{4, "a loop in C that holds the GIL → the same, /metrics answers", []string{hang + "04 endless loop in C", inARow, autoresearchd + "TestScrapeWhileTheInterpreterIsStuck"}},
	{5, "a sleep in C that holds the GIL → the same", []string{hang + "05 sleep that holds the GIL", inARow}},
	{6, "a regular expression that backtracks → the same", []string{hang + "06 regular expression", inARow}},
	{7, "an endless CUDA kernel → memory back within 1 s, else the GPU is quarantined", []string{gpu + "hang", trainer + "TestMemoryBesideANeighbour/it does not"}},
	{8, "a deadlock → killed at its deadline", []string{hang + "08 deadlock", inARow}},
	{9, "every signal ignored → the same", []string{hang + "09 every signal ignored", inARow}},
	{10, "orphans in sessions of their own → the group is empty", []string{hang + "10 orphans of their own", inARow}},
	{11, "a fork bomb → the process limit holds, the daemon answers", []string{hang + "11 fork bomb", inARow}},
	{12, "it stops itself → killed", []string{hang + "12 stops itself", inARow}},
	{13, "beats without progress → the deadline for progress", []string{hang + "13 beats without progress", inARow}},
	{14, "a result, then a hang → the result counts, killed, flagged", []string{ending + "14 result, then a hang at exit", ending + "14 result, then an endless loop", inARow}},
	{15, "a grandchild that holds stdout open → waits are bounded", []string{hang + "15 grandchild holds stdout", inARow}},
	{16, "a process that cannot be killed → alert, no new trial there, after a restart too; the daemon answers", []string{autoresearchd + "TestUnkillable", autoresearchd + "TestUnkillableOrphan", played + "quarantine"}},
	{17, "a call of NVML that hangs → GPU metrics go stale, nothing else stops", []string{"metrics/gpu.TestHang", "metrics.TestHungDriver"}},
	{18, "the wall clock jumps an hour → deadlines unmoved", []string{autoresearchd + "TestWallClockJumps"}},
	{19, "suspend and resume → killed once at most", []string{autoresearchd + "TestSuspended"}},
	{20, "the thread that asked for a trial ends → no trial dies of it", []string{trainer + "TestThreadThatAskedEnds"}},
	{21, "a pid is used again → only our process is hit", []string{trainer + "TestNumberOfAnother", trainer + "TestGroupsAreNew"}},

	// Embedding
	{22, "a NULL dereference → crashed, native trace kept", []string{ending + "22 NULL dereference", inARow}},
	{23, "abort() → crashed, native trace kept", []string{ending + "23 abort", inARow}},
	{24, "os._exit(0) without a result → crashed", []string{ending + "24 os._exit(0) with no result", inARow}},
	{25, "sys.exit(1) → its status is recorded", []string{ending + "25 sys.exit(1)", trainer + "TestExitStatusIsRecorded", inARow}},
	{26, "recursion a million deep → contained", []string{trainer + "TestRecursionAMillionDeepIsContained", inARow}},
	{27, "the script replaces signal handlers → the kill works", []string{hang + "27 replaces signal handlers", inARow}},
	{28, "dup2, chdir, environment → the daemon's own are as they were", []string{trainer + "TestTheDaemonsOwnWorldIsUntouched", inARow}},
	{29, "an illegal CUDA access → the next trial runs", []string{gpu + "illegal"}},
	{30, "CUDA out of memory → recorded as that, the next trial runs", []string{ending + "30 CUDA out of memory", inARow, gpu + "memory"}},
	{31, "the host's memory is gone → only the trial dies", []string{trainer + "TestHostMemory", inARow, booted + "a trial that takes too much memory"}},
	{32, "a wrong libpython or venv → refused at start", []string{trainer + "TestCheckVenv", autoresearchd + "TestMissingVenv", autoresearchd + "TestForeignVenv"}},
	{33, "multiprocessing spawns → the venv's python", []string{trainer + "TestMultiprocessingStartsTheVenvsPython", inARow}},
	{34, "a worker of Inductor is killed while it compiles → it fails or tries again, no hang", []string{trainer + "TestInductorsWorkersAreKilled"}},
	{35, "500 short trials → memory and descriptors flat", []string{trainer + "TestManyTrialsLeaveNothing"}},

	// Daemon
	{36, "SIGKILL of the daemon in mid-trial → orphans ended, one row", []string{autoresearchd + "TestKilledMidTrial", supervisor + "TestOrphansAreEnded", trainer + "TestSweepFindsOrphans", trainer + "TestSweepFindsStandbys", booted + "kill -9 in mid-trial"}},
	{37, "SIGSTOP of the daemon → the service manager starts it again", []string{autoresearchd + "TestServiceManager", "daemon/notify.TestWatch", booted + "SIGSTOP"}},
	{38, "`systemctl stop` in mid-trial → clean, in time", []string{autoresearchd + "TestStoppedMidTrial", booted + "stop in mid-trial"}},
	{39, "20 crashes in a row → waits, alert, still trying", []string{played + "crashes", booted + "more crashes in a row than systemd's own limit on starts"}},
	{40, "a second instance → refused by the lock", []string{autoresearchd + "TestSecondDaemon", supervisor + "TestSecondInstance"}},
	{41, "a hang that cannot be killed at the self-test → no start", []string{trainer + "TestSelfTestFails", trainer + "TestSelfTest"}},
	{42, "reboot in mid-trial → goes on, recorded as interrupted", []string{booted + "reboot in mid-trial", booted + "the machine ends at once in mid-trial"}},

	// Crash safety
	{43, "SIGKILL at every named point, and 1,000 anywhere → nothing lost, doubled or mislabelled", []string{
		supervisor + "TestKillEverywhere", journal + "TestKillEverywhere", lineage + "TestKillEverywhere", supervisor + "TestKillAnywhere", autoresearchd + "TestSoak"}},
	{44, "power loss → what was acknowledged is there", []string{supervisor + "TestPowerLoss"}},
	{45, "a torn results.tsv → written again", []string{supervisor + "TestTornRow", lineage + "TestRepairs", lineage + "TestAppendThatIsCut"}},
	{46, "a full disk at each write → pause, alert, goes on by itself", []string{supervisor + "TestFullDisk", supervisor + "TestDiskErrors", played + "disk-full", journal + "TestFullDisk"}},
	{47, "EIO on fsync → stop, nothing is assumed", []string{journal + "TestFsyncErrorStops", supervisor + "TestDiskErrors"}},
	{48, "a corrupt page of the journal → refused with instructions, results.tsv untouched", []string{journal + "TestDamageIsRefused"}},
	{49, "a stale lock, a dirty tree, a moved branch → safe repair or a clear stop", []string{lineage + "TestStaleLocks", supervisor + "TestStaleLock", autoresearchd + "TestDirtyWorkTree", played + "moved-branch", autoresearchd + "TestMend"}},
	{50, "a flood of checkpoints → the quota ends the trial", []string{trainer + "TestQuotaEndsATrial", inARow}},

	// Security
	{51, "SSH keys, the LLM key, the daemon's environment, /proc → denied", []string{trespass}},
	{52, "writing outside of the trial's scratch → denied", []string{trespass}},
	{53, "TCP, UDP, DNS, abstract sockets → denied", []string{trespass}},
	{54, "signalling or tracing the daemon → denied", []string{trespass}},
	{55, "a planted hook, fsmonitor, filter, submodule → never run", []string{lineage + "TestPlantedProgramsNeverRun"}},
	{56, "a poisoned compile cache, sitecustomize.py, .pth → the next trial is unaffected", []string{"daemon/compiled.TestNothingOfOneTrialHarmsAnother", "daemon/compiled.TestContentsThatAreNotBelieved"}},
	{57, "a malicious pickle as a result → never loaded", []string{inARow}},
	{58, "output without end, NULs, escape codes, a fake val_bpb → capped, ignored", []string{trainer + "TestOutputIsCapped", ending + "58 a fake val_bpb line", autoresearchd + "TestFakeScore", inARow}},
	{59, "a log that gives orders → data", []string{"search/llm.TestPrompt", "search/agent.TestFolder"}},
	{60, "a reply with path traversal, a huge diff, an edit of prepare.py → rejected", []string{"search/llm.TestParse", supervisor + "TestModelFaults"}},
	{61, "tabs and new lines in a description → escaped", []string{lineage + "TestNewRow", lineage + "TestQuote"}},
	{62, "a part of the sandbox is missing → refused, unless configured otherwise", []string{"daemon/sandbox.TestWhatIsMissing", "daemon/sandbox.TestRefused"}},

	// Scores
	{63, "the model returns a loss of zero → caught", []string{told + "zero_loss", told + "smaller_loss"}},
	{64, "attention that sees the future → caught", []string{told + "future_attended", told + "future_favoured", told + "future_of_known_rows"}},
	{65, "logits that do not normalise → no gain", []string{told + "half_a_vocabulary"}},
	{66, "a patched time module → the host's clock counts", []string{told + "clock_slowed", told + "time_patched"}},
	{67, "work hidden in the uncounted steps → bounded", []string{trainer + "TestWorkCannotHide", told + "batches_in_step_0"}},
	{68, "tokenizer or byte lengths rewritten → tampered", []string{told + "token_bytes_rewritten", told + "rows_rewritten", told + "easy_tokenizer"}},
	{69, "training on the validation shard → out of reach", []string{trespass, trainer + "TestValidationIsOutOfReach"}},
	{70, "evaluate_bpb or prepare patched → caught", []string{told + "evaluation_replaced", told + "training_rows", told + "few_tokens"}},
	{71, "another batch size → the same validation tokens", []string{tried + "batch_that_does_not_divide", tried + "small_batch"}},
	{72, "the same code under 20 seeds → almost never kept", []string{"search.TestSameCodeUnderSeeds"}},
	{73, "a score that is NaN, infinite, negative, absurd → rejected", []string{ending + "73 NaN", ending + "73 infinite", ending + "73 negative", ending + "73 absurd", inARow}},
	{74, "understated GPU memory → NVML's figure", []string{trainer + "TestUnderstatedMemory"}},

	// Model server and metrics
	{75, "a model server with 429, 500, hang, malformed, empty → bounded, the search goes on", []string{"search/llm/openai.TestFaults", supervisor + "TestModelFaults", "search/llm/openai.TestBreaker"}},
	{76, "/metrics during all of this → quick, well formed, bounded", []string{inARow, autoresearchd + "TestScrapeDuringShutdown", supervisor + "TestScrapeWhileTheJournalIsBusy", "metrics.TestHungDriver", "metrics.TestBusySource"}},
}
