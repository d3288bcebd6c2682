package page_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"autoresearchd/daemon/httpd/page"
)

// chromium gives the browser that all tests share; scripts/test.sh names it.
var chromium = sync.OnceValues(func() (context.Context, func()) {
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(os.Getenv("AUTORESEARCH_TEST_CHROMIUM")), chromedp.NoSandbox,
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("font-render-hinting", "none"), chromedp.WSURLReadTimeout(2*time.Minute))
	allocator, end := chromedp.NewExecAllocator(context.Background(), options...)
	browser, endBrowser := chromedp.NewContext(allocator)
	if err := chromedp.Do(browser); err != nil {
		panic("start the browser: " + err.Error())
	}
	return browser, func() {
		endBrowser()
		end()
	}
})

func TestMain(m *testing.M) {
	code := m.Run()
	for _, end := range shared.end {
		end()
	}
	if os.Getenv("AUTORESEARCH_TEST_CHROMIUM") != "" {
		_, end := chromium()
		end()
	}
	os.Exit(code)
}

// serve gives the address of a page over an API.
func serve(t testing.TB, api http.Handler) string {
	t.Helper()
	p, err := page.New(api, page.Site{Metrics: true})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/api/v1/", api)
	mux.Handle("/", p)
	server := httptest.NewServer(mux)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL
}

// tab is a browser's tab that records what must not happen in it.
type tab struct {
	t   testing.TB
	ctx context.Context
	url string

	mu     sync.Mutex
	faults []string
}

type look struct {
	width, height int64
	dark, plain   bool // plain: without JavaScript
}

var desktop, phone = look{width: 1280, height: 800}, look{width: 390, height: 844}

// open opens the page; the test fails if it asks for anything elsewhere or
// writes a fault to the console.
func open(t testing.TB, url string, l look) *tab {
	t.Helper()
	if os.Getenv("AUTORESEARCH_TEST_CHROMIUM") == "" {
		t.Skip("AUTORESEARCH_TEST_CHROMIUM names no browser: scripts/test.sh page sets it")
	}
	browser, _ := chromium()
	ctx, end := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	b := &tab{t: t, ctx: ctx, url: url}
	t.Cleanup(func() {
		cancel()
		end()
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, f := range b.faults {
			t.Error(f)
		}
	})
	if err := chromedp.Listen(ctx, b.listen); err != nil {
		t.Fatal(err)
	}
	scheme := "light"
	if l.dark {
		scheme = "dark"
	}
	call(b, network.Enable, network.EnableParams{})
	call(b, log.Enable, cdp.Empty{})
	call(b, runtime.Enable, cdp.Empty{})
	call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: l.width, Height: l.height, DeviceScaleFactor: 1, Mobile: l.width < 600})
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: l.plain})
	b.do(chromedp.Navigate(url))
	return b
}

// call sends a command of the protocol.
func call[P, R any](b *tab, c cdp.Command[P, R], params P) R {
	b.t.Helper()
	r, err := chromedp.Call(b.ctx, c, params)
	if err != nil {
		b.t.Fatalf("%s: %v", c.Method, err)
	}
	return r
}

func (b *tab) listen(event any) {
	fault := ""
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		fault = "exception: " + e.ExceptionDetails.Text + " " + describe(e.ExceptionDetails.Exception)
	case *runtime.EventConsoleAPICalled:
		if e.Type == "error" || e.Type == "warning" {
			fault = "console: " + string(e.Type)
			for _, arg := range e.Args {
				fault += " " + describe(arg)
			}
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			fault = "log: " + e.Entry.Text + " " + e.Entry.URL
		}
	case *network.EventRequestWillBeSent:
		if u := e.Request.URL; !strings.HasPrefix(u, b.url) && !strings.HasPrefix(u, "data:") && u != "about:blank" {
			fault = "a request elsewhere: " + u
		}
	}
	if fault != "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.faults = append(b.faults, fault)
	}
}

func describe(o *runtime.RemoteObject) string {
	if o == nil {
		return ""
	}
	return o.Description + string(o.Value)
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// ask returns what an expression, or a promise, comes to.
func ask[T any](b *tab, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// until waits for an expression to be true.
func (b *tab) until(expression string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 2*time.Minute)
	defer cancel()
	wait := fmt.Sprintf(`(async () => { while (!(%s)) await new Promise((r) => setTimeout(r, 10)); return true; })()`, expression)
	if _, err := chromedp.Run(ctx, chromedp.Evaluate[bool](wait, chromedp.EvalAwaitPromise)); err != nil {
		text, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string]("document.body.innerText.slice(0, 1500)"))
		b.t.Fatalf("never came true: %s: %v\n%s", expression, err, text)
	}
}

func (b *tab) press(keys ...string) {
	b.t.Helper()
	for _, k := range keys {
		b.do(chromedp.KeyEvent(k))
	}
}

func (b *tab) move(x, y float64) {
	b.t.Helper()
	b.do(chromedp.MouseEvent(input.DispatchMouseEventTypeMouseMoved, x, y))
}

func (b *tab) click(x, y float64) {
	b.t.Helper()
	b.do(chromedp.MouseClickXY(x, y))
}

func (b *tab) reload() {
	b.t.Helper()
	b.do(chromedp.Reload())
}

// visit goes to a view.
func (b *tab) visit(view string) {
	b.t.Helper()
	ask[bool](b, `(location.hash = "#`+view+`", true)`)
	b.until(`document.querySelector("#view").dataset.at === "` + view + `"`)
	// Charts are drawn with the frame after.
	ask[bool](b, `new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))`)
}

// forgive takes back the faults with part in them, of which there must be some.
func (b *tab) forgive(part string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	before := len(b.faults)
	b.faults = slices.DeleteFunc(b.faults, func(f string) bool { return strings.Contains(f, part) })
	if len(b.faults) == before {
		b.t.Fatalf("no fault with %q among %q", part, b.faults)
	}
}

// shot keeps a picture of the whole page where AUTORESEARCH_TEST_PAGE says.
func (b *tab) shot(name string) {
	b.t.Helper()
	dir := os.Getenv("AUTORESEARCH_TEST_PAGE")
	if dir == "" {
		return
	}
	picture, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o644); err != nil {
		b.t.Fatal(err)
	}
}
