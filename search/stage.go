package search

// Stage is how far a trial's record has come. A crash leaves a trial at one of
// them, and the next start goes on from there.
type Stage string

// The stages, in order.
const (
	StageBegun     Stage = "begun"     // admitted; it may be running
	StageEnded     Stage = "ended"     // the outcome is known
	StageDecided   Stage = "decided"   // the decision is known
	StageCommitted Stage = "committed" // its commit and refs are in git
	StageRecorded  Stage = "recorded"  // its row is in results.tsv
	StageDone      Stage = "done"      // strategies and people have been told
)

// stageTable is the table of legal stage changes; "" is a trial that has no record.
var stageTable = map[Stage][]Stage{
	"":             {StageBegun},
	StageBegun:     {StageEnded},
	StageEnded:     {StageDecided},
	StageDecided:   {StageCommitted},
	StageCommitted: {StageRecorded},
	StageRecorded:  {StageDone},
	StageDone:      nil,
}

// CanBecome reports whether a trial's record may go from s to t.
func (s Stage) CanBecome(t Stage) bool {
	for _, allowed := range stageTable[s] {
		if allowed == t {
			return true
		}
	}
	return false
}

// Reached reports whether a record at stage s has passed t or stands at it.
func (s Stage) Reached(t Stage) bool {
	for range stageTable {
		if s == t {
			return true
		}
		if len(stageTable[t]) == 0 {
			return false
		}
		t = stageTable[t][0]
	}
	return false
}
