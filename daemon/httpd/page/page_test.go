package page_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

func get(t *testing.T, url string, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(body)
}

func TestWithoutJavaScript(t *testing.T) {
	url := serve(t, study(t, 120, false).API)
	answer, body := get(t, url+"/")
	if got := answer.Header.Get("Content-Security-Policy"); !strings.HasPrefix(got, "default-src 'none'; script-src 'self'; style-src 'self';") {
		t.Errorf("policy %q", got)
	}
	if n := strings.Count(body, `<td class="c-id num">`); n != 100 {
		t.Errorf("%d rows, want the newest 100", n)
	}
	for _, want := range []string{`<td class="c-id num">120</td>`, `<span class="standing crashed">out of memory</span>`, ">candidates in 120 runs: ", "runs an hour", "Running"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	several := own(t, 3, false)
	seated(several, 3, 8)
	if _, body := get(t, serve(t, several.API)+"/"); !strings.Contains(body, "8 seats") || !strings.Contains(body, "1 quarantined, 6 running, 1 waiting") {
		t.Errorf("eight seats are shown as:\n%s", body)
	}
	if _, body := get(t, serve(t, own(t, 0, false).API)+"/"); !strings.Contains(body, "The first one is the baseline") {
		t.Errorf("a study without trials says nothing of what is waited for:\n%s", body)
	}
}

func TestHostileTextInMarkup(t *testing.T) {
	_, body := get(t, serve(t, study(t, 120, true).API)+"/")
	for _, bad := range []string{"<script>alert", "<img", "\x1b", "\x00", "\u202e", "\u2066"} {
		if strings.Contains(body, bad) {
			t.Errorf("the page holds %q", bad)
		}
	}
	if !strings.Contains(body, "&lt;script&gt;alert(1)") {
		t.Error("the hostile study is not hostile")
	}
}

func TestFaultIsSaid(t *testing.T) {
	broken := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		io.WriteString(w, `{"error": "read the journal: it is busy"}`)
	})
	answer, body := get(t, serve(t, broken)+"/")
	if answer.StatusCode != http.StatusOK || !strings.Contains(body, "The study could not be read: read the journal: it is busy.") {
		t.Errorf("%d\n%s", answer.StatusCode, body)
	}
}

func TestAssets(t *testing.T) {
	url := serve(t, own(t, 0, false).API)
	answer, body := get(t, url+"/assets/main.js")
	if answer.StatusCode != http.StatusOK || !strings.HasPrefix(answer.Header.Get("Content-Type"), "text/javascript") || body == "" {
		t.Fatalf("%d %s", answer.StatusCode, answer.Header)
	}
	if again, body := get(t, url+"/assets/main.js", "If-None-Match", answer.Header.Get("ETag")); again.StatusCode != http.StatusNotModified || body != "" {
		t.Errorf("asked again with its tag: %d", again.StatusCode)
	}
	for _, path := range []string{"/assets/", "/assets/none.js", "/assets/../page.html", "/other"} {
		if answer, _ := get(t, url+path); answer.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d, want 404", path, answer.StatusCode)
		}
	}
	_, index := get(t, url+"/")
	for _, name := range []string{"assets/main.js", "assets/theme.js", "assets/base.css", "assets/table.js"} {
		if !strings.Contains(index, `"`+name+`"`) {
			t.Errorf("the page does not load %s", name)
		}
	}
	if strings.Contains(index, "style=") || strings.Contains(index, "<style") || strings.Contains(index, "javascript:") {
		t.Error("the page has style or script in its markup, which its policy forbids")
	}
}
