package simulate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"autoresearchd/search"
)

// Modelled models a language model behind the llm strategy: it reads the
// champion's train.py out of the prompt, and replies in words as a model does.
//
// Quality is how often it knows what it says, from 0, useless, to 1, strong.
// Then it thinks of many changes of the champion, most of them small, and
// proposes the one that is truly best. Otherwise it makes a wild guess, usually
// for the worse, and every fourth time a reply that cannot be used.
//
// It is search.Model, of a task whose truth is known, for one study.
type Modelled struct {
	task    Task
	quality float64
	random  *rand.Rand
}

// thoughts is how many changes a model that knows thinks of.
const thoughts = 64

// NewModelled makes a model for a study of the task.
func NewModelled(task Task, quality float64, seed uint64) (*Modelled, error) {
	switch {
	case task.True == nil:
		return nil, fmt.Errorf("a language model cannot be modelled for task %s: nobody knows the truth of it", task.Name)
	case !(quality >= 0 && quality <= 1):
		return nil, fmt.Errorf("a modelled language model has a quality from 0 to 1, not %g", quality)
	}
	return &Modelled{task, quality, rand.New(rand.NewPCG(seed, 0x6d6f64656c))}, nil
}

// change is a proposal before it is put into words.
type change struct {
	values map[string]search.Value
	edit   int // of the task's edits, -1 for none
}

// Complete implements search.Model.
func (m *Modelled) Complete(_ context.Context, p search.Prompt) (search.Reply, error) {
	_, after, ok := strings.Cut(p.Turns[0], "----- begin train.py ")
	_, after, _ = strings.Cut(after, " -----\n")
	text, _, closed := strings.Cut(after, "\n----- end train.py ")
	if !ok || !closed {
		return search.Reply{}, errors.New("the prompt does not show train.py")
	}
	source := []byte(text + "\n")
	consts, err := Read(source)
	if err != nil {
		return search.Reply{}, fmt.Errorf("the prompt's train.py: %w", err)
	}
	// What does not fit the source any more is left out of the space.
	space, _ := search.NewSpace(consts, m.task.Overrides)
	reply := search.Reply{Model: fmt.Sprintf("modelled-%g", m.quality), PromptTokens: len(p.Turns[0]) / 4}
	knows := m.random.Float64() < m.quality
	if !knows && m.random.Float64() < 0.25 || space.Len() == 0 {
		reply.Text = "There is much that one could try here. What would you like to do first?"
		return reply, nil
	}
	c := m.guess(space, source)
	if knows {
		c = m.best(space, source, consts)
	}
	reply.Text = m.words(c, source, consts)
	reply.ReplyTokens = len(reply.Text) / 4
	return reply, nil
}

// guess changes one to four constants to anything, or makes any edit.
func (m *Modelled) guess(space search.Space, source []byte) change {
	if edits := m.fresh(source); len(edits) > 0 && m.random.Float64() < 0.5 {
		return change{edit: edits[m.random.IntN(len(edits))]}
	}
	u := space.Start()
	for range 1 + m.random.IntN(4) {
		i := m.random.IntN(len(u))
		u[i] = space.Dimensions()[i].Sample(m.random)
	}
	return change{values: space.Changes(u), edit: -1}
}

// best is the best of many changes, by the truth.
func (m *Modelled) best(space search.Space, source []byte, consts []search.Constant) change {
	best, value := change{edit: -1}, math.Inf(1)
	edits := m.fresh(source)
	for n := range thoughts {
		c := change{edit: -1}
		if len(edits) > 0 && n%4 == 0 {
			c.edit = edits[m.random.IntN(len(edits))]
		} else {
			u := space.Start()
			scale := math.Pow(0.5, 1+4*m.random.Float64())
			for range 1 + m.random.IntN(3) {
				i := m.random.IntN(len(u))
				u[i] = space.Dimensions()[i].Mutate(m.random, u[i], scale)
			}
			c.values = space.Changes(u)
		}
		if v, status := m.truth(c, source, consts); status == search.Completed && v < value {
			best, value = c, v
		}
	}
	return best
}

// fresh are the task's edits that a train.py has not had yet.
func (m *Modelled) fresh(source []byte) []int {
	if m.task.Edits == nil {
		return nil
	}
	return m.task.Edits.fresh(source)
}

// truth is the value of a train.py with a change.
func (m *Modelled) truth(c change, source []byte, consts []search.Constant) (float64, search.Status) {
	if m.task.Edits == nil {
		values := Values(consts)
		maps.Copy(values, c.values)
		return m.task.True(values)
	}
	if c.edit >= 0 {
		source = m.task.Edits.apply(c.edit, source, consts)
		var err error
		if consts, err = Read(source); err != nil {
			return 0, search.Crashed
		}
	}
	values := Values(consts)
	maps.Copy(values, c.values)
	return m.task.Edits.value(source, values, m.task.True)
}

// words puts a change into a reply: constants, or edit blocks that turn the
// source into the one with the edit.
func (m *Modelled) words(c change, source []byte, consts []search.Constant) string {
	var b strings.Builder
	if c.edit < 0 {
		b.WriteString("DESCRIPTION: other constants\nEXPECT: lower val_bpb\n\nCONSTANTS:\n")
		for _, name := range sorted(c.values) {
			fmt.Fprintf(&b, "%s = %s\n", name, c.values[name].Literal())
		}
		return b.String()
	}
	fmt.Fprintf(&b, "DESCRIPTION: edit %d of the code\nEXPECT: lower val_bpb\n", c.edit)
	block := func(old, with string) {
		fmt.Fprintf(&b, "\n<<<<<<< SEARCH\n%s\n=======\n", old)
		if with != "" {
			b.WriteString(with + "\n")
		}
		b.WriteString(">>>>>>> REPLACE\n")
	}
	rows := strings.Split(string(source), "\n")
	after, _ := Read(m.task.Edits.apply(c.edit, source, consts))
	code := Code(m.task.Edits.apply(c.edit, source, consts))
	for _, k := range consts {
		if !named(after, k.Name) {
			block(rows[k.Line-1], "")
		}
	}
	first := rows[consts[0].Line-1]
	for _, k := range after {
		if !named(consts, k.Name) {
			block(first, k.Name+" = "+k.Text+"\n"+first)
		}
	}
	block("print(prepare)", code[len(code)-1]+"\nprint(prepare)")
	return b.String()
}

func named(consts []search.Constant, name string) bool {
	return slices.ContainsFunc(consts, func(c search.Constant) bool { return c.Name == name })
}
