// Package exec proposes what an external program proposes, written in any
// language: one JSON object a line on its standard input and output.
//
// The program answers each ask with constants, which are held to the space
// strictly. It may die, hang or talk nonsense: it is started anew and told the
// history again, and is set aside when that does not help; a fallback proposes
// while there is no answer. What it knows is what it was told since the last
// "space" line, and each ask brings a seed of its own, so that a program that
// uses nothing else proposes the same after a restart.
package exec

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"autoresearchd/search"
	"autoresearchd/search/fallback"
)

// Name is the strategy's name in autoresearch.toml.
const Name = "exec"

// Options is the [search.exec] table.
type Options struct {
	Command  []string       `toml:"command" doc:"the program and its arguments; ./ is relative to this file"`
	Options  map[string]any `toml:"options" doc:"passed to the program in hello, verbatim"`
	Env      []string       `toml:"env" doc:"environment variables to pass on although they may hold secrets"`
	Read     []string       `toml:"read" doc:"files and folders that it may read in the sandbox, beside its own folder and what it is installed with"`
	Write    []string       `toml:"write" doc:"those that it may write too"`
	Network  bool           `toml:"network" doc:"it may use the network in the sandbox"`
	Deadline time.Duration  `toml:"deadline" doc:"per proposal, including the program's start"`
	Faults   int            `toml:"faults" doc:"crashes, hangs and malformed answers in a row before it is set aside"`
	Fallback string         `toml:"fallback" doc:"strategy that proposes while the program does not"`
}

// Defaults are the options of an empty table.
func Defaults() Options {
	return Options{Deadline: time.Minute, Faults: 3, Fallback: "evolution"}
}

func init() { search.Default.Register(Name, New, Defaults()) }

const (
	lineLimit = 1 << 20 // bytes of a line that is read
	tries     = 8       // asks for constants that have not been tried, in one Ask
	patience  = 3       // answers that are refused as wrong, in one Ask
	chatter   = 10000   // lines before an answer that are none
)

type strategy struct {
	seed     uint64
	o        Options
	fallback *fallback.Fallback
	tools    search.Tools

	talk   *talk // nil: no program runs
	faults int   // in a row
	aside  error // why the program is set aside
}

// New is the search.Factory.
func New(env search.Environment) (search.Strategy, error) {
	o := Defaults()
	if err := env.Decode(&o); err != nil {
		return nil, err
	}
	var faults []error
	if len(o.Command) == 0 || o.Command[0] == "" {
		faults = append(faults, errors.New(`search.exec.command is empty: name the program, command = ["./search.py"]`))
	}
	if o.Deadline < 100*time.Millisecond {
		faults = append(faults, fmt.Errorf("search.exec.deadline = %q: use 100ms or more", o.Deadline))
	}
	if o.Faults < 1 {
		faults = append(faults, fmt.Errorf("search.exec.faults = %d: use 1 or more", o.Faults))
	}
	f, err := fallback.New(Name, o.Fallback, env)
	if err := errors.Join(append(faults, err)...); err != nil {
		return nil, err
	}
	if env.Log == nil {
		env.Log = slog.New(slog.DiscardHandler)
	}
	return &strategy{seed: env.Seed, o: o, fallback: f, tools: env.Tools}, nil
}

// Close implements search.Closer.
func (s *strategy) Close() { s.hangUp() }

// Tell leaves it to Ask to tell the program, which has the history.
func (s *strategy) Tell(r search.Result) { s.fallback.Tell(r) }

// Ask implements search.Strategy.
func (s *strategy) Ask(ctx context.Context, h search.History) (search.Proposal, error) {
	if h.Space.Len() == 0 {
		return search.Proposal{}, search.ErrNoDimension
	}
	if err := ctx.Err(); err != nil {
		return search.Proposal{}, err
	}
	why := s.aside
	if why == nil {
		p, err := s.consult(ctx, h)
		if err == nil || ctx.Err() != nil {
			return p, err
		}
		why = err
	}
	return s.fallback.Ask(ctx, h, why)
}

// errNothing is no fault: the program has nothing to propose.
var errNothing = errors.New("it has nothing to propose")

// errMisfit is a fault that a restart does not mend.
var errMisfit = errors.New("it speaks another protocol")

// consult asks the program, and starts it anew when it fails.
func (s *strategy) consult(ctx context.Context, h search.History) (search.Proposal, error) {
	bound, cancel := context.WithTimeout(ctx, s.o.Deadline)
	defer cancel()
	for {
		p, err := s.converse(bound, h)
		switch {
		case err == nil || errors.Is(err, errNothing):
			s.faults = 0
			return p, err
		case ctx.Err() != nil: // nobody waits for the answer any more
			s.hangUp()
			return p, ctx.Err()
		case bound.Err() != nil:
			err = s.late()
		}
		log := s.tools.Log.With("command", s.o.Command[0], "err", err)
		if s.talk != nil {
			log = log.With("standard error", s.talk.p.Tail())
		}
		s.hangUp()
		s.faults++
		if s.faults >= s.o.Faults || errors.Is(err, errMisfit) {
			s.aside = fmt.Errorf("set aside, as %w", err)
			log.Error("the program of [search.exec] is set aside; its fallback proposes from here on", "faults in a row", s.faults, "fallback", s.o.Fallback)
			return p, s.aside
		}
		log.Warn("the program of [search.exec] is started anew", "faults in a row", s.faults)
		if bound.Err() != nil {
			return p, err
		}
	}
}

// talk is a conversation with a running program.
type talk struct {
	p     search.Process
	in    *bufio.Reader
	space []byte // the line that it was told last
	told  int    // how many of History.Done it knows
	asks  int
	stray string // the last line before the answer to come that is none
	noted bool   // that there are such lines
	log   *slog.Logger
}

func (s *strategy) hangUp() {
	if s.talk != nil {
		s.talk.p.Close()
		s.talk = nil
	}
}

// converse brings the program up to date and asks it until it answers with
// constants that can be a trial.
func (s *strategy) converse(ctx context.Context, h search.History) (search.Proposal, error) {
	if s.talk == nil {
		if s.tools.Start == nil {
			return search.Proposal{}, errors.New("programs cannot be started here")
		}
		p, err := s.tools.Start(ctx, search.Command{Argv: s.o.Command, Env: s.o.Env, Network: s.o.Network, Read: s.o.Read, Write: s.o.Write})
		if err != nil {
			return search.Proposal{}, err
		}
		s.talk = &talk{p: p, in: bufio.NewReaderSize(p.Stdout(), lineLimit), log: s.tools.Log}
	}
	t := s.talk
	stop := context.AfterFunc(ctx, t.p.Kill) // which ends every read and write
	defer stop()
	if t.space == nil {
		if err := t.greet(ctx, s.seed, s.o.Options); err != nil {
			return search.Proposal{}, err
		}
	}
	var lines bytes.Buffer
	if err := t.update(&lines, h); err != nil {
		return search.Proposal{}, err
	}
	seen := map[uint64]int64{search.Fingerprint(h.Champion.Constants): h.Champion.ID}
	for i := range h.Done {
		seen[search.Fingerprint(h.Done[i].Trial.Constants)] = h.Done[i].Trial.ID
	}
	pending := []map[string]search.Value{}
	for i := range h.Pending {
		seen[search.Fingerprint(h.Pending[i].Constants)] = h.Pending[i].ID
		pending = append(pending, constants(h.Pending[i].Constants, h.Space))
	}
	r := search.Stream(s.seed, h)
	wrong := 0
	for range tries {
		t.asks++
		if err := write(&lines, ask{"ask", t.asks, r.Uint32(), pending}); err != nil {
			return search.Proposal{}, err
		}
		var a answer
		if err := t.exchange(ctx, &lines, &a); err != nil {
			return search.Proposal{}, err
		}
		if err := a.check(t.asks); err != nil {
			return search.Proposal{}, err
		}
		if a.None != "" {
			return search.Proposal{}, fmt.Errorf("%w: %s", errNothing, fallback.Line(a.None, 100))
		}
		u, err := h.Space.Point(a.Constants)
		if err != nil {
			if wrong++; wrong == patience {
				return search.Proposal{}, fmt.Errorf("its constants were refused %d times: %w", wrong, err)
			}
		} else if id, ok := seen[h.Space.Fingerprint(u)]; ok {
			err = fmt.Errorf("trial %d has these constants already", id)
		} else {
			p := h.Propose(Name, u)
			p.Memo = a.Memo
			if words := fallback.Line(a.Description, 200); words != "" {
				p.Description = words
			}
			return p, nil
		}
		if err := write(&lines, refused{"refused", t.asks, err.Error()}); err != nil {
			return search.Proposal{}, err
		}
	}
	// It is not held against the program, which reads why with the next ask.
	if err := t.send(ctx, &lines); err != nil {
		return search.Proposal{}, err
	}
	return search.Proposal{}, fmt.Errorf("%w that has not been tried", errNothing)
}

func (t *talk) greet(ctx context.Context, seed uint64, options map[string]any) error {
	if options == nil {
		options = map[string]any{}
	}
	var lines bytes.Buffer
	if err := write(&lines, hello{"hello", Protocol, uint32(seed ^ seed>>32), "val_bpb", "minimize", options}); err != nil {
		return err
	}
	var g greeting
	if err := t.exchange(ctx, &lines, &g); err != nil {
		return err
	}
	if g.Protocol != Protocol {
		return fmt.Errorf("%w: version %d, and this is version %d", errMisfit, g.Protocol, Protocol)
	}
	return nil
}

// update writes what the program does not know yet.
func (t *talk) update(w io.Writer, h search.History) error {
	var line bytes.Buffer
	if err := write(&line, describe(h.Space)); err != nil {
		return err
	}
	if !bytes.Equal(line.Bytes(), t.space) || t.told > len(h.Done) {
		t.space, t.told = line.Bytes(), 0
		if _, err := w.Write(t.space); err != nil {
			return err
		}
		for _, e := range h.Earlier {
			for _, r := range e.Done {
				m := result(r, h.Space)
				m.Type, m.Study = "earlier", e.Name
				if err := write(w, m); err != nil {
					return err
				}
			}
		}
	}
	for ; t.told < len(h.Done); t.told++ {
		if err := write(w, result(h.Done[t.told], h.Space)); err != nil {
			return err
		}
	}
	return nil
}

func write(w io.Writer, message any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	if err := e.Encode(message); err != nil {
		return fmt.Errorf("tell it: %w", err)
	}
	return nil
}

func (t *talk) send(ctx context.Context, lines *bytes.Buffer) error {
	_, err := t.p.Stdin().Write(lines.Bytes())
	lines.Reset()
	if err != nil {
		return t.ended(ctx)
	}
	return nil
}

// exchange sends lines and reads the line that answers them.
func (t *talk) exchange(ctx context.Context, lines *bytes.Buffer, reply any) error {
	if err := t.send(ctx, lines); err != nil {
		return err
	}
	line, err := t.answer(ctx)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	err = d.Decode(reply)
	if _, more := d.Token(); err == nil && more != io.EOF {
		err = errors.New("one JSON object stands on a line")
	}
	if err != nil {
		return fmt.Errorf("its answer %q is not understood (%w)", fallback.Line(string(line), 100), err)
	}
	return nil
}

// answer reads on to the next line that is meant as a message. What a library
// prints on its own, a greeting or a log line, is passed over.
func (t *talk) answer(ctx context.Context) ([]byte, error) {
	t.stray = ""
	for range chatter {
		line, err := t.in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return nil, fmt.Errorf("its answer is longer than %d bytes", lineLimit)
		}
		if err != nil {
			return nil, t.ended(ctx)
		}
		line = bytes.TrimPrefix(bytes.TrimSpace(line), []byte("\ufeff"))
		if meant(line) {
			return line, nil
		}
		text := fallback.Line(string(line), 100)
		if text == "" {
			continue
		}
		if t.stray = text; !t.noted {
			t.noted = true
			t.log.Info("the program of [search.exec] writes lines to its standard output that are no message; they are passed over", "line", text)
		}
	}
	return nil, fmt.Errorf("it wrote %d lines that are no answer, the last %q", chatter, t.stray)
}

// meant reports whether a line is meant as a message, sound or not: it begins
// like a JSON object, and is not one that has no key of a message at all.
func meant(line []byte) bool {
	if !bytes.HasPrefix(line, []byte("{")) {
		return false
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(line, &object) != nil || len(object) == 0 {
		return true
	}
	for _, key := range []string{"protocol", "id", "constants", "none"} {
		if _, ok := object[key]; ok {
			return true
		}
	}
	return false
}

// late says what is known of a program that has not answered in time.
func (s *strategy) late() error {
	text := fmt.Sprintf("it did not answer within %v", s.o.Deadline)
	switch {
	case s.talk == nil:
	case s.talk.stray != "":
		text += fmt.Sprintf(", and its last line %q is no JSON object", s.talk.stray)
	default:
		text += ": does it flush each line that it writes?"
	}
	return errors.New(text)
}

// ended says how a program ended that does not read or write any more.
func (t *talk) ended(ctx context.Context) error {
	bound, cancel := context.WithTimeout(ctx, 10*time.Second) // a busy machine ends a process late
	defer cancel()
	select {
	case <-t.p.Done():
	case <-bound.Done():
		return errors.New("it has closed its standard input or output")
	}
	how := "it ended"
	if err := t.p.Err(); err != nil {
		how += ": " + err.Error()
	}
	tail := strings.Split(t.p.Tail(), "\n")
	if last := fallback.Line(tail[len(tail)-1], 300); last != "" {
		how += ": " + last
	} else if t.stray != "" {
		how += fmt.Sprintf(": its last line was %q", t.stray)
	}
	return errors.New(how)
}
