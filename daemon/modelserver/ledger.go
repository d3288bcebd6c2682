package modelserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"autoresearchd/daemon/durable"
	"autoresearchd/daemon/faultpoint"
	"autoresearchd/search/llm/openai"
)

var (
	ledgerWritten = faultpoint.New("models.ledger.written")
	ledgerAfter   = faultpoint.New("models.ledger.after")
)

// File is where a study's ledger lies in its state directory.
const File = "llm.json"

// Ledger keeps what models have cost in a small file. A call that returns
// without an error is on the disk; what was reserved when the daemon died
// counts as spent.
type Ledger struct {
	path string

	mu     sync.Mutex
	loaded bool
	sums   Sums
	spent  atomic.Pointer[float64] // sums.Dollars, for who must not wait for the disk; nil before it is loaded
}

// Sums is what models have cost together, and each of them.
type Sums struct {
	Dollars      float64 `json:"dollars"`
	Reserved     float64 `json:"reserved"` // by requests under way
	Requests     int64   `json:"requests"`
	PromptTokens int64   `json:"prompt_tokens"`
	ReplyTokens  int64   `json:"reply_tokens"`

	Models map[string]Use `json:"models,omitempty"` // by name; an older ledger's requests are in none
}

// sound reports whether the sums can have come about, so that they can be added to.
func (s Sums) sound() bool {
	all := []float64{s.Dollars, s.Reserved}
	for _, use := range s.Models {
		all = append(all, use.Dollars)
	}
	return !slices.ContainsFunc(all, func(x float64) bool { return !(x >= 0 && x < 1e12) })
}

// Use is what one model has cost.
type Use struct {
	Dollars      float64 `json:"dollars"`
	Requests     int64   `json:"requests"` // that have ended
	PromptTokens int64   `json:"prompt_tokens"`
	ReplyTokens  int64   `json:"reply_tokens"`
}

// NewLedger returns the ledger of a state directory. The file is read when a
// model is first asked: a faulty one keeps models from being asked, and
// nothing else.
func NewLedger(state string) *Ledger { return &Ledger{path: filepath.Join(state, File)} }

// Read returns what the models of a study have cost so far; of one that never
// asked a model it is zero.
func Read(state string) (Sums, error) {
	l := NewLedger(state)
	err := l.load()
	return l.sums, err
}

// Reserve implements openai.Ledger.
func (l *Ledger) Reserve(dollars, limit float64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.load(); err != nil {
		return err
	}
	next := l.sums
	next.Reserved += dollars
	next.Requests++
	if limit > 0 && next.Dollars+next.Reserved > limit {
		return fmt.Errorf("%w: $%.4f of $%g are spent, and this request could cost $%.4f: raise it and reload to continue", openai.ErrCap, l.sums.Dollars, limit, dollars)
	}
	return l.store(next)
}

// Settle implements openai.Ledger.
func (l *Ledger) Settle(model string, reserved, dollars float64, promptTokens, replyTokens int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := l.sums
	next.Reserved = max(0, next.Reserved-reserved)
	next.Dollars += dollars
	next.PromptTokens += int64(promptTokens)
	next.ReplyTokens += int64(replyTokens)
	use := next.Models[model]
	use.Dollars += dollars
	use.Requests++
	use.PromptTokens += int64(promptTokens)
	use.ReplyTokens += int64(replyTokens)
	next.Models = maps.Clone(next.Models) // others may read the old one
	if next.Models == nil {
		next.Models = map[string]Use{}
	}
	next.Models[model] = use
	l.set(next) // it is spent, whether it can be written or not
	return l.store(next)
}

func (l *Ledger) load() error {
	if l.loaded {
		return nil
	}
	data, err := os.ReadFile(l.path)
	var s Sums
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("read what models have cost: %w", err)
	default:
		if err := json.Unmarshal(data, &s); err != nil || !s.sound() {
			return fmt.Errorf("%s, which holds what models have cost, is damaged: repair it, or remove it to count from 0", l.path)
		}
	}
	s.Dollars, s.Reserved = s.Dollars+s.Reserved, 0
	l.loaded = true
	l.set(s)
	return nil
}

func (l *Ledger) set(s Sums) {
	l.sums = s
	l.spent.Store(&s.Dollars)
}

// Spent returns the dollars that the study has cost; not ok where the file
// cannot be read. After the first call it does not wait for the disk.
func (l *Ledger) Spent() (dollars float64, ok bool) {
	if d := l.spent.Load(); d != nil {
		return *d, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.load() != nil {
		return 0, false
	}
	return l.sums.Dollars, true
}

// store replaces the file, durably, and then what is known.
func (l *Ledger) store(s Sums) error {
	data, err := json.Marshal(s)
	if err == nil {
		err = durable.Replace(l.path, append(data, '\n'), 0o640, ledgerWritten)
	}
	if err != nil {
		return fmt.Errorf("record what models cost: %w", err)
	}
	ledgerAfter.Hit()
	l.set(s)
	return nil
}
