package trainer

import (
	"time"

	"autoresearchd/daemon/sandbox"
	"autoresearchd/metrics/gpu"
)

// setup is what a host is told first.
type setup struct {
	Protocol  int           `json:"protocol"`
	Owner     string        `json:"owner"`
	Python    string        `json:"python"`
	Cache     string        `json:"cache"`
	Needs     []string      `json:"needs"` // files and folders that trials read
	LogLimit  int64         `json:"log_limit"`
	Processes int           `json:"processes"`
	Memory    int64         `json:"memory"`
	Room      int           `json:"room"`
	Confine   bool          `json:"confine"`
	Closed    []string      `json:"closed"`
	Overlap   bool          `json:"overlap"`
	Sandbox   sandbox.Asked `json:"sandbox"`
	Shared    []string      `json:"shared"` // what trials may read in it
	Deny      []string      `json:"deny"`   // but not open
}

// hostRequest is what the daemon says to a host; ID is the trainer's.
type hostRequest struct {
	Op      string       `json:"op"` // "begin", "alive", "start", "stage", "ask", "occupy", "calm", "rouse", "renew", "end", "release"
	ID      int64        `json:"id,omitempty"`
	Setup   *setup       `json:"setup,omitempty"`
	Job     *hostJob     `json:"job,omitempty"`
	Dir     string       `json:"dir,omitempty"` // on the daemon's machine
	Files   []stagedFile `json:"files,omitempty"`
	Request *request     `json:"request,omitempty"`
	Grace   float64      `json:"grace,omitempty"` // seconds
	Forced  bool         `json:"forced,omitempty"`
	Well    bool         `json:"well,omitempty"`
}

type hostJob struct {
	Name   string   `json:"name"`
	ID     int64    `json:"id"`
	Trains bool     `json:"trains"`
	Spare  bool     `json:"spare"`
	Deny   []string `json:"deny"` // files that it must not open
}

// hostEvent is what a host says.
type hostEvent struct {
	Kind  string       `json:"kind"` // "hello", "alive", "event", "print", "files", "ended", "silent", "use", "gone", "leaving"
	ID    int64        `json:"id,omitempty"`
	Hello *hostHello   `json:"hello,omitempty"`
	Event *event       `json:"event,omitempty"`
	Data  []byte       `json:"data,omitempty"`
	Dir   string       `json:"dir,omitempty"` // of "files": on the daemon's machine
	Files []stagedFile `json:"files,omitempty"`
	Use   *hostUse     `json:"use,omitempty"`
	Gone  *hostGone    `json:"gone,omitempty"`
	Why   string       `json:"why,omitempty"`  // of "leaving"
	GPUs  []gpu.Sample `json:"gpus,omitempty"` // of "alive": the seat's
}

// hostHello says what a host has for trials.
type hostHello struct {
	Protocol int       `json:"protocol"`
	Host     string    `json:"host"`
	Python   string    `json:"python"` // the CPython that it embeds
	Job      string    `json:"job"`
	Step     string    `json:"step"`
	Now      time.Time `json:"now"`
	Device   string    `json:"device"` // there: "cuda:0", "cpu"
	Kind     string    `json:"kind"`
	Memory   int64     `json:"memory"`  // of the GPU, bytes
	Calm     bool      `json:"calm"`    // a standby can be kept out of a trial's way
	Sandbox  string    `json:"sandbox"` // what confines trials there, in words
	Faults   []string  `json:"faults"`  // why no trial can run there
}

type hostUse struct {
	Device  int64 `json:"device"`
	Whole   int64 `json:"whole"`
	Limit   int64 `json:"limit"`
	Over    bool  `json:"over"`
	Written int64 `json:"written"`
}

type hostGone struct {
	Left        []int   `json:"left"`
	Took        float64 `json:"took"` // seconds
	Code        int     `json:"code"`
	Signal      string  `json:"signal"`
	OutOfMemory bool    `json:"out_of_memory"`
	Freed       float64 `json:"freed"` // seconds until the device's memory was back
	Unfit       string  `json:"unfit"` // why the device is no good any more; "": it is
	Lost        bool    `json:"lost"`  // it was lost, maybe under the trial
}
