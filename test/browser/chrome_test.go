// Package browser drives a real Chromium: the page of the admin API, and pages whose scripts are
// clients of the proxy (gRPC-Web, WebSockets). make browser runs it.
package browser

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience bounds every wait: the machine may be busy.
const patience = time.Minute

// A tab is one page in the browser.
type tab struct {
	*testing.T
	ctx context.Context
}

// open starts a browser that accepts a language, with a window of that size, at a URL. What the
// browser reports as an error, such as a breach of the page's policy, fails the test, unless one
// of allowed is a part of it.
func open(t *testing.T, language string, wide, high int, url string, allowed ...string) *tab {
	t.Helper()
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			program = found
			break
		}
	}
	if program == "" {
		t.Fatal("no Chromium is installed: make browser installs it")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program),
		chromedp.Flag("lang", language), chromedp.Flag("accept-lang", language), chromedp.Flag("no-proxy-server", true),
		chromedp.Flag("disable-gpu", true), chromedp.Flag("ignore-certificate-errors", true), // those of tests have no authority
		chromedp.WSURLReadTimeout(patience))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium has no sandbox for root
	}
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &tab{t, ctx}
	// The first action starts the browser, which ends with the context of that action.
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(int64(wide), int64(high))); err != nil {
		t.Fatal(err)
	}
	err := chromedp.Listen(ctx, func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			t.Errorf("the page threw: %s %+v", e.ExceptionDetails.Text, e.ExceptionDetails.Exception)
		case *log.EventEntryAdded:
			if e.Entry.Level == log.EntryLevelError && !contains(e.Entry.Text, allowed) {
				t.Errorf("the browser reports: %s %v", e.Entry.Text, e.Entry.URL)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	b.do(chromedp.Navigate(url))
	return b
}

// do runs actions, each in its time.
func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	for _, a := range actions {
		run(b, a)
	}
}

// run runs an action in its time and returns its value.
func run[T any](b *tab, a chromedp.Action[T]) T {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, a)
	if err != nil {
		b.Fatal(err)
	}
	return v
}

// ask evaluates an expression of JavaScript.
func ask[T any](b *tab, expression string) T {
	b.Helper()
	return run(b, chromedp.Evaluate[T](expression))
}

// until waits for an expression to be true.
func (b *tab) until(what, expression string) {
	b.Helper()
	for end := time.Now().Add(patience); ; {
		if ask[bool](b, "!!("+expression+")") {
			return
		}
		if time.Now().After(end) {
			b.shot("failed")
			b.Fatalf("%s: never; the page says: %s", what, ask[string](b, "document.body.innerText"))
		}
		b.do(chromedp.Sleep(50 * time.Millisecond))
	}
}

// press presses keys.
func (b *tab) press(keys string) { b.Helper(); b.do(chromedp.KeyEvent(keys)) }

// command presses a key as a keyboard does: the page may keep its character from being entered.
func (b *tab) command(key string) {
	b.Helper()
	b.do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		for _, p := range []input.DispatchKeyEventParams{
			{Type: input.DispatchKeyEventTypeKeyDown, Key: key, Text: key}, {Type: input.DispatchKeyEventTypeKeyUp, Key: key},
		} {
			if _, err := cdp.Call(ctx, t, input.DispatchKeyEvent, p); err != nil {
				return err
			}
		}
		return nil
	}))
}

// click clicks what a selector finds.
func (b *tab) click(selector string) {
	b.Helper()
	b.do(chromedp.Click(chromedp.CSS(selector)))
}

// shot writes a picture of the page to the output folder.
func (b *tab) shot(name string) {
	b.Helper()
	png := run(b, chromedp.CaptureScreenshot())
	if err := os.MkdirAll(output(), 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(output(), name+".png"), png, 0o644); err != nil {
		b.Fatal(err)
	}
}

// output is the folder of pictures: $POISE_SHOTS, or poise-browser among temporary files.
func output() string {
	if dir := os.Getenv("POISE_SHOTS"); dir != "" {
		return dir
	}
	return filepath.Join(os.TempDir(), "poise-browser")
}

// visit goes to a place of the page.
func (b *tab) visit(place string) {
	b.Helper()
	ask[string](b, "location.hash = '#/"+place+"'")
}

// reload loads the page again, and returns when it is there. An expression that reloads would lose
// its own answer with the page.
func (b *tab) reload() { b.Helper(); b.do(chromedp.Reload()) }
