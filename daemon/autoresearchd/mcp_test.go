package main

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
)

// client starts the server, lists its tools, and calls those that it is told.
const client = `
import asyncio, json, os, sys
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

async def main():
    command, calls = json.loads(sys.argv[1]), json.loads(sys.argv[2])
    server = StdioServerParameters(command=command[0], args=command[1:], env=dict(os.environ))
    async with stdio_client(server) as (read, write):
        async with ClientSession(read, write) as session:
            about = await session.initialize()
            tools = (await session.list_tools()).tools
            answers = []
            for name, arguments in calls:
                result = await session.call_tool(name, arguments)
                answers.append({"error": bool(result.isError), "text": "".join(c.text for c in result.content)})
            print(json.dumps({
                "name": about.serverInfo.name, "instructions": about.instructions,
                "reading": [t.name for t in tools if t.annotations.readOnlyHint],
                "changing": [t.name for t in tools if not t.annotations.readOnlyHint],
                "described": all(t.description and t.inputSchema["type"] == "object" for t in tools),
                "answers": answers,
            }))

asyncio.run(main())
`

// called is what a client of the Python SDK heard.
type called struct {
	Name, Instructions string
	Reading, Changing  []string
	Described          bool
	Answers            []struct {
		Error bool
		Text  string
	}
}

type call [2]any

// TestMCP has a client of the Python SDK look at a study, and steer one.
func TestMCP(t *testing.T) {
	t.Parallel()
	python, err := exec.Command("../../scripts/mcp.sh").Output()
	must(t, err)
	talk := func(s *fixture, server *exec.Cmd, calls ...call) called {
		t.Helper()
		command, err := json.Marshal(server.Args)
		must(t, err)
		wanted, err := json.Marshal(calls)
		must(t, err)
		cmd := exec.Command(strings.TrimSpace(string(python)), "-c", client, string(command), string(wanted))
		cmd.Env, cmd.Dir = server.Env, s.dir
		var fault strings.Builder
		cmd.Stderr = &fault
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v\n%s%s", err, out, fault.String())
		}
		var c called
		must(t, json.Unmarshal(out, &c))
		return c
	}

	record := recorded(t)
	c := talk(record, record.command(record.of("mcp")...), call{"status", map[string]any{}}, call{"candidates", map[string]any{"limit": 3, "order": "asc", "verdict": "kept,discarded"}},
		call{"trial", map[string]any{"id": "best"}}, call{"diff", map[string]any{"id": "11"}}, call{"log", map[string]any{"id": "12", "lines": 2}},
		call{"constants", map[string]any{}}, call{"suggestions", map[string]any{}},
		call{"trial", map[string]any{"id": "99"}}, call{"candidates", map[string]any{"order": "sideways"}})
	if got := strings.Join(c.Reading, " "); c.Name != "autoresearchd" || got != "candidates constants diff log status suggestions trial" || len(c.Changing) > 0 || !c.Described ||
		!strings.Contains(c.Instructions, "never instructions") {
		t.Errorf("the server says %+v", c)
	}
	for i, want := range []string{
		`"next":"nothing until`, `"total":8`, `"decision":"keep"`, "+++ train.py (candidate 11)", "\nval_bpb: ", `"name":`, "[]",
		"there is no trial 99", `order="sideways": write asc or desc`,
	} {
		if a := c.Answers[i]; !strings.Contains(a.Text, want) || a.Error != (i > 6) {
			t.Errorf("answer %d lacks %q: %+v", i, want, a)
		}
	}
	var page struct {
		Candidates []struct {
			ID      int64
			Verdict string
			Runs    []int64
		}
	}
	must(t, json.Unmarshal([]byte(c.Answers[1].Text), &page))
	if len(page.Candidates) != 3 || page.Candidates[0].ID != 1 || page.Candidates[0].Verdict != "kept" || len(page.Candidates[0].Runs) == 0 {
		t.Errorf("candidates: %+v", page)
	}
	if strings.Contains(c.Answers[2].Text, `"curve"`) || strings.Contains(c.Answers[0].Text, "champion_curve") {
		t.Error("an agent is told of curves, point by point")
	}

	s := newStudy(t)
	s.ok("run", "--trials", "1")
	c = talk(s, s.command("mcp", "--control"), call{"pause", map[string]any{}})
	if a := c.Answers[0]; !a.Error || !strings.Contains(a.Text, "no daemon is running") {
		t.Errorf("without a daemon: %+v", a)
	}
	s.hold()
	d := s.start("--trials", "2")
	s.training(2)
	c = talk(s, s.command("mcp", "--control"), call{"suggest", map[string]any{"set": map[string]any{"DEPTH": 6, "MATRIX_LR": 5}}}, call{"suggest", map[string]any{"set": map[string]any{"DEPTH": 5}}},
		call{"suggestions", map[string]any{}}, call{"drop_suggestion", map[string]any{"id": 2}}, call{"suggest", map[string]any{"text": "deeper"}}, call{"suggest", map[string]any{}},
		call{"pause", map[string]any{}}, call{"resume", map[string]any{}}, call{"status", map[string]any{}})
	if got := strings.Join(c.Changing, " "); got != "drop_suggestion pause resume suggest" {
		t.Errorf("--control adds %s", got)
	}
	for i, want := range []string{
		"queued: MATRIX_LR 0.04 -> 5, DEPTH 4 -> 6\nwarning: MATRIX_LR = 5.0 is outside", "queued: DEPTH 4 -> 5", `{"id":2,"text":"DEPTH 4 -\u003e 5","values":{"DEPTH":5}}`, "dropped: DEPTH 4 -> 5",
		"needs a language model", "give either text or set", "paused", "the study continues", `"phase":"train"`,
	} {
		if a := c.Answers[i]; !strings.Contains(a.Text, want) || a.Error != (i == 4 || i == 5) {
			t.Errorf("answer %d lacks %q: %+v", i, want, a)
		}
	}
	s.open()
	if code := d.end(); code != 0 {
		t.Errorf("ended with %d", code)
	}
	if rows := s.trials(); len(rows) != 3 || rows[2].Strategy != "suggestion" || rows[2].Constants["DEPTH"] != 6.0 {
		t.Errorf("recorded %+v", rows)
	}
}
