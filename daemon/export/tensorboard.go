package export

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"autoresearchd/daemon/journal"
	"autoresearchd/daemon/record"
	"autoresearchd/search"
)

// TensorBoard writes the study as event files below dir. The run "study" has the
// scores, times and memory of the trials over their numbers, with whose runs they
// are; the means of the candidates over theirs, a tag a verdict; and the
// champion's mean as it was known after each trial. Each run of a kept candidate
// is a run of its own with its training loss over its steps. The same study
// written again replaces itself.
func TensorBoard(dir string, study journal.Study, candidates []record.Candidate, replay Replay) error {
	whole := &events{}
	whole.begin(study.StartedAt)
	of := byRun(candidates)
	var done []search.Result
	var ends []time.Time
	err := replay(func(r journal.Record) error {
		if r.Outcome.Status == "" {
			return nil
		}
		at, step, c := ended(r), r.Trial.ID, of(r)
		whole.scalar(at, step, "candidate", float64(c.ID))
		if bpb, ok := r.Score(); ok {
			whole.scalar(at, step, "val_bpb", bpb)
		}
		if last := len(c.Runs) - 1; last >= 0 && c.Runs[last] == r.Trial.ID && c.ValBPB != nil {
			whole.scalar(at, c.ID, "candidates/"+string(c.Verdict), *c.ValBPB)
		}
		whole.scalar(at, step, "wall_seconds", r.Outcome.WallSeconds)
		whole.scalar(at, step, "tokens", float64(r.Outcome.Tokens))
		if r.Outcome.PeakVRAM > 0 {
			whole.scalar(at, step, "peak_vram_bytes", float64(r.Outcome.PeakVRAM))
		}
		light := r.Result
		light.Trial.Source, light.Outcome.Curve = nil, nil
		done, ends = append(done, light), append(ends, at)
		if c.Verdict != search.StandingKept || len(r.Outcome.Curve) == 0 {
			return nil
		}
		one := &events{}
		one.begin(r.Trial.StartedAt)
		for _, p := range r.Outcome.Curve {
			one.scalar(r.Trial.StartedAt.Add(time.Duration(p.Seconds*float64(time.Second))), int64(p.Step), "train_loss", p.Loss)
		}
		return one.save(filepath.Join(dir, fmt.Sprintf("candidate-%04d", c.ID), fmt.Sprintf("trial-%04d", r.Trial.ID)), r.Trial.StartedAt)
	})
	for i, level := range search.Levels(done) {
		if !math.IsNaN(level) {
			whole.scalar(ends[i], done[i].Trial.ID, "best_val_bpb", level)
		}
	}
	if err == nil {
		err = whole.save(filepath.Join(dir, "study"), study.StartedAt)
	}
	if err != nil {
		return fmt.Errorf("write for TensorBoard: %w", err)
	}
	return nil
}

// events are TensorFlow's Event messages in the framing of TFRecord.
type events struct{ data []byte }

// The fields of tensorflow.Event, Summary and Summary.Value that are used.
const (
	eventWallTime    protowire.Number = 1
	eventStep        protowire.Number = 2
	eventFileVersion protowire.Number = 3
	eventSummary     protowire.Number = 5
	summaryValue     protowire.Number = 1
	valueTag         protowire.Number = 1
	valueSimple      protowire.Number = 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// masked is TFRecord's checksum: a CRC of data that holds CRCs is weak, so they
// are turned.
func masked(data []byte) uint32 {
	c := crc32.Checksum(data, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}

func (e *events) add(message []byte) {
	length := binary.LittleEndian.AppendUint64(nil, uint64(len(message)))
	e.data = append(e.data, length...)
	e.data = binary.LittleEndian.AppendUint32(e.data, masked(length))
	e.data = append(e.data, message...)
	e.data = binary.LittleEndian.AppendUint32(e.data, masked(message))
}

func event(at time.Time) []byte {
	b := protowire.AppendTag(nil, eventWallTime, protowire.Fixed64Type)
	return protowire.AppendFixed64(b, math.Float64bits(float64(at.UnixNano())/1e9))
}

func (e *events) begin(at time.Time) {
	b := protowire.AppendTag(event(at), eventFileVersion, protowire.BytesType)
	e.add(protowire.AppendString(b, "brain.Event:2"))
}

func (e *events) scalar(at time.Time, step int64, tag string, value float64) {
	v := protowire.AppendTag(nil, valueTag, protowire.BytesType)
	v = protowire.AppendString(v, tag)
	v = protowire.AppendTag(v, valueSimple, protowire.Fixed32Type)
	v = protowire.AppendFixed32(v, math.Float32bits(float32(value)))
	s := protowire.AppendTag(nil, summaryValue, protowire.BytesType)
	s = protowire.AppendBytes(s, v)
	b := protowire.AppendTag(event(at), eventStep, protowire.VarintType)
	b = protowire.AppendVarint(b, uint64(step))
	b = protowire.AppendTag(b, eventSummary, protowire.BytesType)
	e.add(protowire.AppendBytes(b, s))
}

// save writes the one event file of a run.
func (e *events) save(dir string, begun time.Time) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return File(filepath.Join(dir, fmt.Sprintf("events.out.tfevents.%d.autoresearchd", begun.Unix())), func(w io.Writer) error {
		_, err := w.Write(e.data)
		return err
	})
}
