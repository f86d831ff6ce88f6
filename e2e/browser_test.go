package e2e

import (
	"context"
	"fmt"
	"iter"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
)

// browser is one Chromium, without a window.
type browser struct{ ctx context.Context }

// startBrowser starts Chromium, to be closed when t ends, or skips t if there is none.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not on the PATH, so nothing was tested in a browser; `apt-get install chromium` brings it on Debian")
	}
	profile := t.TempDir()
	ctx, cancel := lifetime(t)
	ctx, cancelAllocator := chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.UserDataDir(profile),
		chromedp.Env("XDG_CONFIG_HOME="+profile, "XDG_CACHE_HOME="+profile),
		chromedp.Headless,
		chromedp.NoSandbox,
		chromedp.DisableGPU,
		chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
	)...)
	ctx, _ = chromedp.NewContext(ctx) // ends with the allocator
	t.Cleanup(func() {
		closing, stop := context.WithTimeout(ctx, patience)
		defer stop()
		if err := chromedp.Cancel(closing); err != nil {
			t.Errorf("closing the browser: %v", err)
		}
		cancelAllocator() // waits for the process
		cancel()
		// Helpers of the browser may outlive it for a moment and still write.
		eventually(t, func() error { return os.RemoveAll(profile) })
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("chromium does not start: %v", err)
	}
	return &browser{ctx}
}

// tab is a page of a dashboard.
type tab struct {
	browser *browser
	ctx     context.Context

	mu      sync.Mutex
	console []chromedp.ConsoleMessage
}

// open opens the page of s in a tab of its own, after the preparations, and closes it when t ends.
func (b *browser) open(t *testing.T, s *server, prepare ...chromedp.Action[chromedp.Void]) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx) // in a window of its own: a hidden page would not draw
	t.Cleanup(cancel)
	tab := &tab{browser: b, ctx: ctx}
	if err := chromedp.Do(ctx); err != nil { // the tab lives as long as the context of its first action
		t.Fatalf("no tab: %v", err)
	}
	console := chromedp.Console(ctx)
	go func() {
		for m, err := range console {
			if err != nil {
				return // the tab is closed
			}
			tab.mu.Lock()
			tab.console = append(tab.console, m)
			tab.mu.Unlock()
		}
	}()
	tab.do(t, chromedp.EmulateViewport(1280, 800))
	tab.do(t, append(prepare, chromedp.Navigate(s.url))...)
	return tab
}

func (tab *tab) close(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(tab.ctx, patience)
	defer cancel()
	if err := chromedp.Cancel(ctx); err != nil {
		t.Fatal(err)
	}
}

func steps(s ...chromedp.Action[chromedp.Void]) []chromedp.Action[chromedp.Void] { return s }

func (tab *tab) do(t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(tab.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatal(err)
	}
}

func evaluate[T any](t *testing.T, tab *tab, script string) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(tab.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](script))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// colorScheme makes the browser prefer "light" or "dark".
func colorScheme(scheme string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	})
}

// silent checks that nothing was wrong enough for the console, but for what contains one of the given texts.
func (tab *tab) silent(t *testing.T, but ...string) {
	t.Helper()
	// The console is in order: once the last line has come, all others have.
	last := fmt.Sprintf("last line at %d", time.Now().UnixNano())
	evaluate[chromedp.Void](t, tab, fmt.Sprintf("console.debug(%q)", last))
	var lines []chromedp.ConsoleMessage
	eventually(t, func() error {
		tab.mu.Lock()
		defer tab.mu.Unlock()
		lines = slices.Clone(tab.console)
		if !slices.ContainsFunc(lines, func(m chromedp.ConsoleMessage) bool { return m.Text == last }) {
			return fmt.Errorf("the console did not say %q", last)
		}
		return nil
	})
	for _, m := range lines {
		bad := m.IsException() || m.Type == "error" || m.Type == "warning" || m.Type == "assert"
		if bad && !slices.ContainsFunc(but, func(part string) bool { return !m.IsException() && strings.Contains(m.Text, part) }) {
			t.Errorf("console: %s (%s) %s", m.Type, m.URL, m.Text)
		}
	}
}

// shot leaves a picture of the tab in the folder E2E_SHOTS, if that is set.
func (tab *tab) shot(t *testing.T, name string) {
	t.Helper()
	dir := os.Getenv("E2E_SHOTS")
	if dir == "" {
		return
	}
	ctx, cancel := context.WithTimeout(tab.ctx, patience)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644)
	}
	if err != nil {
		t.Error(err)
	}
}

// Using the page as its visitors do

func (tab *tab) click(t *testing.T, selector string) {
	t.Helper()
	tab.do(t, chromedp.Click(chromedp.CSS(selector), chromedp.NodeEnabled))
}

func (tab *tab) tapOrClick(t *testing.T, s screen, selector string) {
	t.Helper()
	if s.phone {
		tab.do(t, chromedp.Tap(chromedp.CSS(selector), chromedp.NodeEnabled))
	} else {
		tab.click(t, selector)
	}
}

// typed clicks into the box and types text, key by key.
func (tab *tab) typed(t *testing.T, text string) {
	t.Helper()
	tab.click(t, "#text")
	tab.keys(t, text)
}

// keys types text, key by key, wherever the focus is, and waits for it to be in the box.
func (tab *tab) keys(t *testing.T, text string) {
	t.Helper()
	tab.do(t, chromedp.KeyEvent(text))
	tab.await(t, "the text in the box", func(v view) bool { return v.Box == text && v.Sendable })
}

// insert puts text into the box at once, as pasting does.
func (tab *tab) insert(t *testing.T, text string) {
	t.Helper()
	tab.click(t, "#text")
	tab.do(t, chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, input.InsertText, input.InsertTextParams{Text: text})
		return err
	}))
	tab.await(t, "the text in the box", func(v view) bool { return v.Box == text && v.Sendable })
}

// enter presses Enter as a keyboard does: a page that does not keep the box from it gets a line break as well.
func (tab *tab) enter(t *testing.T) {
	t.Helper()
	tab.do(t, chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		key := input.DispatchKeyEventParams{Key: "Enter", Code: "Enter", WindowsVirtualKeyCode: 13, NativeVirtualKeyCode: 13}
		down, up := key, key
		down.Type, down.Text, up.Type = input.DispatchKeyEventTypeKeyDown, "\r", input.DispatchKeyEventTypeKeyUp
		for _, k := range []input.DispatchKeyEventParams{down, up} {
			if _, err := chromedp.Call(ctx, input.DispatchKeyEvent, k); err != nil {
				return err
			}
		}
		return nil
	}))
}

// Reading the page

// view is what a page says.
type view struct {
	Title     string `json:"title"`
	Connected string `json:"connected"`
	Redis     string `json:"redis"`
	Instance  string `json:"instance"`
	WS        panel  `json:"ws"`
	SSE       panel  `json:"sse"`
	Box       string `json:"box"`
	Sendable  bool   `json:"sendable"`
	Problem   string `json:"problem"`
	Tenant    string `json:"tenant"`
	Outcome   string `json:"outcome"`

	Happened []string       `json:"happened"` // newest first
	Restarts map[string]int `json:"restarts"` // by actor: all that are shown
	Numbers  map[string]int `json:"numbers"`  // by id
}

type panel struct {
	State    string    `json:"state"`
	Messages []message `json:"messages"`
	Notices  []string  `json:"notices"`
	Bursts   []string  `json:"bursts"`
	Beats    int       `json:"beats"`
	Missing  string    `json:"missing"`
}

type message struct {
	Text     string `json:"text"`
	From     string `json:"from"`
	Elements int    `json:"elements"` // in the text: HTML that was not kept from working
}

func (v view) panels() iter.Seq2[string, panel] {
	return func(yield func(string, panel) bool) { _ = yield("WebSocket", v.WS) && yield("SSE", v.SSE) }
}

func (p panel) texts() []string {
	texts := []string{}
	for _, m := range p.Messages {
		texts = append(texts, m.Text)
	}
	return texts
}

func (tab *tab) view(t *testing.T) view {
	t.Helper()
	return evaluate[view](t, tab, `(() => {
		const text = (selector) => document.querySelector(selector)?.textContent ?? ""; // of a page that is loading there may be none
		const panel = (kind) => ({
			state: document.querySelector(kind + " .state")?.dataset.state ?? "",
			messages: [...document.querySelectorAll(kind + " .message")].map((li) => ({
				text: li.querySelector("p").textContent,
				from: li.querySelector(".from")?.textContent ?? "",
				elements: li.querySelector("p").childElementCount,
			})),
			notices: [...document.querySelectorAll(kind + " .notice")].map((li) => li.textContent),
			bursts: [...document.querySelectorAll(kind + " .burst")].map((li) => li.textContent.replace(/, in \d.*/, "")),
			beats: number(text(".timing " + kind + " .beats")),
			missing: text(".timing " + kind + " .missing"),
		});
		const number = (text) => Number(text.replaceAll(",", "")) || 0;
		return {
			title: document.title,
			connected: text("#connected"), redis: text("#redis"), instance: text("#instance"),
			ws: panel(".ws"), sse: panel(".sse"),
			box: document.querySelector("#text")?.value ?? "",
			sendable: document.querySelector("#send")?.disabled === false,
			problem: text("#problem"), tenant: text("#tenant"), outcome: text("#outcome"),
			happened: [...document.querySelectorAll("#happened li")].map((li) => li.lastChild.textContent),
			restarts: Object.fromEntries([...document.querySelectorAll("#actors tr")].map((tr) => [tr.dataset.actor, number(tr.querySelector(".restarts").textContent)])),
			numbers: Object.fromEntries(["deepest", "newest", "oldest", "cutoff"].map((id) => [id, number(text("#" + id))])),
		};
	})()`)
}

// await waits until the page is as wanted.
func (tab *tab) await(t *testing.T, what string, wanted func(view) bool) view {
	t.Helper()
	var v view
	eventually(t, func() error {
		if v = tab.view(t); !wanted(v) {
			return fmt.Errorf("waited for %s; the page says %+v", what, v)
		}
		return nil
	})
	return v
}

// awaitLive waits until both panels are connected, to an instance with so many connections and such a Redis.
func (tab *tab) awaitLive(t *testing.T, connected int, redis string) view {
	t.Helper()
	return tab.await(t, fmt.Sprintf("two live panels of %d connections", connected), func(v view) bool {
		return v.WS.State == "live" && v.SSE.State == "live" && v.Connected == strconv.Itoa(connected) && v.Redis == redis
	})
}

// layout is where a page has what, in CSS pixels.
type layout struct {
	Width       float64  `json:"width"`
	Height      float64  `json:"height"`
	Zoom        float64  `json:"zoom"`
	ScrollWidth float64  `json:"scrollWidth"`
	Outside     []string `json:"outside"` // what reaches beyond the sides
	Low         []string `json:"low"`     // buttons and the like that are too low for a finger
	Panels      []place  `json:"panels"`
	Box         place    `json:"box"`
	Button      place    `json:"button"`
	Dark        bool     `json:"dark"`
	Ink         string   `json:"ink"`
	Paper       string   `json:"paper"`
}

type place struct {
	X   float64 `json:"x"`
	Y   float64 `json:"y"`
	W   float64 `json:"w"`
	H   float64 `json:"h"`
	Hit bool    `json:"hit"` // a finger on its middle touches it, not something above it
}

func (p place) right() float64  { return p.X + p.W }
func (p place) bottom() float64 { return p.Y + p.H }

func (p place) within(l layout) bool {
	return p.W > 0 && p.H > 0 && p.X >= 0 && p.Y >= 0 && p.right() <= l.Width && p.bottom() <= l.Height
}

func (tab *tab) layout(t *testing.T) layout {
	t.Helper()
	return evaluate[layout](t, tab, `(() => {
		const place = (e) => {
			const { x, y, width: w, height: h } = e.getBoundingClientRect();
			return { x, y, w, h, hit: e.contains(document.elementFromPoint(x + w / 2, y + h / 2)) };
		};
		const outside = [...document.body.querySelectorAll("*")].filter((e) => {
			const { left, right } = e.getBoundingClientRect();
			return left < 0 || right > innerWidth || (e.matches("textarea, .scroll, .rows, .card, main") && e.scrollWidth > e.clientWidth);
		});
		return {
			width: innerWidth, height: innerHeight, zoom: visualViewport.scale,
			scrollWidth: Math.max(document.documentElement.scrollWidth, document.body.scrollWidth),
			low: [...document.querySelectorAll("button, input, select")].filter((e) => e.offsetHeight && e.offsetHeight < 44).map((e) => e.textContent || e.id),
			outside: outside.map((e) => e.tagName + "." + (e.getAttribute("class") ?? e.id)),
			panels: [...document.querySelectorAll(".panel")].map(place),
			box: place(document.querySelector("#text")),
			button: place(document.querySelector("#send")),
			dark: matchMedia("(prefers-color-scheme: dark)").matches,
			ink: getComputedStyle(document.body).color,
			paper: getComputedStyle(document.body).backgroundColor,
		};
	})()`)
}

// luminance is that of a color as WCAG defines it, from 0 to 1.
func luminance(color string) (float64, error) {
	var rgb [3]float64
	if _, err := fmt.Sscanf(color, "rgb(%f, %f, %f)", &rgb[0], &rgb[1], &rgb[2]); err != nil {
		return 0, fmt.Errorf("the color %q: %w", color, err)
	}
	for i, c := range rgb {
		if c /= 255; c <= 0.04045 {
			rgb[i] = c / 12.92
		} else {
			rgb[i] = math.Pow((c+0.055)/1.055, 2.4)
		}
	}
	return 0.2126*rgb[0] + 0.7152*rgb[1] + 0.0722*rgb[2], nil
}
