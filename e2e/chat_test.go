package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// TestChat is two people with two tabs each, one of them on WebSocket and one on EventSource, on two instances, and a third who looks on.
func TestChat(t *testing.T) {
	b := startBrowser(t)
	program := build(t, "chat")
	for _, screen := range []screen{
		{"Desktop", 1280, 800, false},
		{"Phone", 360, 740, true},
	} {
		t.Run(screen.name, func(t *testing.T) {
			redis := startRedis(t)
			onA, onB := startChat(t, program, "-redis", redis), startChat(t, program, "-redis", redis)
			awaitSubscribers(t, redis, 2, "wskit-chat")
			ann, bob, eve := b.visitor(t), b.visitor(t), b.visitor(t)

			annA := enter(t, ann, onA, "ann", screen)
			bobB := enter(t, bob, onB, "bob", screen)
			eveA := enter(t, eve, onA, "eve", screen)
			annB, bobA := openChat(t, ann, onB, "lobby?sse", screen), openChat(t, bob, onA, "lobby?sse", screen)
			four := []*chatTab{annA, annB, bobA, bobB}
			for _, tab := range append(four, eveA) {
				tab.await(t, "to be connected", func(v chatView) bool { return v.State == "connected" })
			}
			awaitSubscribers(t, redis, 2, "wskit-chat:lobby", "wskit-chat::user:ann", "wskit-chat::user:bob")

			// Who types is shown to all but the tab itself, over both transports.
			for _, typist := range []*chatTab{annA, bobA} {
				evaluateAll(t, append(four, eveA), `typings = []`)
				typist.write(t, "about to say")
				for _, tab := range append(four, eveA) {
					if tab != typist {
						tab.await(t, "to see "+typist.user+" typing", func(v chatView) bool { return slices.Contains(v.Typings, typist.user+" is typing") })
					}
				}
				typist.submit(t)
				for _, tab := range append(four, eveA) {
					v := tab.await(t, "what was typed", func(v chatView) bool { return v.ends("message", typist.user, "about to say") })
					if tab == typist && len(v.Typings) != 0 {
						t.Errorf("%s sees of itself: %q", tab.name, v.Typings)
					}
				}
			}

			// All see one order, and markup is text.
			const html = `<b>bold</b> <img src="/x" onerror="document.title='owned'">`
			evaluateAll(t, four, fmt.Sprintf(`for (const said of ["1", "2", %q, "4", "5"]) {
				document.querySelector("#text").value = said;
				document.querySelector("#write").requestSubmit();
			}`, html))
			var order []chatLine
			for _, tab := range append(four, eveA) {
				v := tab.await(t, "22 messages", func(v chatView) bool { return len(v.of("message")) == 22 })
				if order == nil {
					order = v.of("message")
				}
				if got := v.of("message"); !slices.Equal(got, order) {
					t.Errorf("%s shows %+v, and %s %+v", tab.name, got, annA.name, order)
				}
				if v.Elements != 0 || !strings.HasSuffix(v.Title, "wskit chat") {
					t.Errorf("%s made HTML of a message; its title is %q", tab.name, v.Title)
				}
			}
			for _, user := range []string{"ann", "bob"} {
				if n := countOf(order, chatLine{"message", user, html}); n != 2 {
					t.Errorf("%s's message came %d times, want one from each tab", user, n)
				}
			}

			// A private message is written on a stream, to the name that was clicked on.
			bobA.click(t, "li.message button")
			bobA.write(t, "just between us")
			bobA.submit(t)
			for _, tab := range four {
				tab.await(t, "the private message", func(v chatView) bool { return v.ends("private", "bob to ann", "just between us") })
			}
			evaluate[chromedp.Void](t, bobA.tab, `document.querySelector("#to").value = ""`)
			annB.write(t, "Lopadotemachoselachogaleokranioleipsanodrimhypotrimmatosilphioparaomelitokatakechymenokichlepikossyphophattoperisteralektryon")
			annB.submit(t)
			for _, tab := range append(four, eveA) {
				v := tab.await(t, "the next in the room", func(v chatView) bool { return strings.HasPrefix(v.last().Text, "Lopado") })
				if tab == eveA && len(v.of("private")) != 0 {
					t.Errorf("eve sees %+v", v.of("private"))
				}
				for _, scheme := range []string{"light", "dark"} {
					tab.do(t, colorScheme(scheme))
					tab.shot(t, "chat-"+strings.ToLower(screen.name)+"-"+scheme+"-"+tab.name)
					tab.fits(t, screen, scheme)
				}
				tab.silent(t)
			}

			// Who is thrown out is so everywhere, and comes back in when the time is over.
			evaluate[chromedp.Void](t, annB.tab, `document.querySelector("#to").value = "bob"`)
			annB.click(t, "#kick")
			for _, tab := range []*chatTab{bobA, bobB} {
				tab.await(t, "to be out", func(v chatView) bool { return v.State == "not connected, trying again" })
				tab.shot(t, "chat-"+strings.ToLower(screen.name)+"-out-"+tab.name)
				eventually(t, func() error { return tab.heardOf("403") })
			}
			if v := bobB.view(t); v.Problem != "thrown out by ann" {
				t.Errorf("bob is told %q", v.Problem)
			}
			for _, tab := range []*chatTab{annA, annB, eveA} {
				tab.await(t, "the notice", func(v chatView) bool {
					return slices.Contains(v.Lines, chatLine{"notice", "", "bob was thrown out by ann"}) && v.State == "connected"
				})
			}
			for _, tab := range []*chatTab{bobA, bobB} {
				tab.await(t, "to be back", func(v chatView) bool { return v.State == "connected" })
			}
			awaitSubscribers(t, redis, 2, "wskit-chat:lobby")
			bobB.write(t, "sorry")
			bobB.submit(t)
			for _, tab := range append(four, eveA) {
				tab.await(t, "him", func(v chatView) bool { return v.ends("message", "bob", "sorry") })
			}
			for _, tab := range append(four, eveA) {
				tab.silent(t, "403", "WebSocket connection to") // what the browser itself says of attempts
			}
		})
	}
}

// TestChatKeepsWhatWasSaid is somebody who comes late, and is cut off, on WebSocket and on EventSource.
func TestChatKeepsWhatWasSaid(t *testing.T) {
	b := startBrowser(t)
	program := build(t, "chat")
	desktop := screen{"Desktop", 1280, 800, false}
	for _, c := range []struct{ name, path string }{{"WebSocket", "lobby"}, {"EventSource", "lobby?sse"}} {
		t.Run(c.name, func(t *testing.T) {
			s := startChat(t, program)
			net := startNetwork(t, s.addr)
			far := &server{url: "http://" + net.listener.Addr().String() + "/"}
			ann, bob := b.visitor(t), b.visitor(t)
			annTab := enter(t, ann, s, "ann", desktop)
			said := []string{"one", "two", "three", "four", "five"}
			say := func(texts ...string) {
				t.Helper()
				for _, text := range texts {
					annTab.write(t, text)
					annTab.submit(t)
				}
			}
			say(said[:2]...)
			enter(t, bob, s, "bob", desktop) // for the name
			late := openChat(t, bob, far, c.path, desktop)
			hears := func(n int) {
				t.Helper()
				v := late.await(t, fmt.Sprint(n, " messages"), func(v chatView) bool { return len(v.of("message")) >= n && v.State == "connected" })
				var texts []string
				for _, l := range v.of("message") {
					texts = append(texts, l.Text)
				}
				if !slices.Equal(texts, said[:n]) {
					t.Errorf("%s shows %q, want %q", late.name, texts, said[:n])
				}
			}
			hears(2)
			net.cut()
			late.await(t, "to be cut off", func(v chatView) bool { return v.State == "not connected, trying again" })
			say(said[2:4]...)
			net.restore()
			hears(4)
			say(said[4])
			hears(5)
			late.silent(t, "WebSocket connection to", "net::ERR_") // what the browser itself says of attempts
		})
	}
}

// startChat starts a chat on a free port. When t ends it is stopped, if it still runs, and has to end in good order.
func startChat(t *testing.T, program string, args ...string) *server {
	t.Helper()
	var s *server
	eventually(t, func() error { // someone else may take the port first
		port, err := freePort()
		if err != nil {
			return err
		}
		addr := net.JoinHostPort("127.0.0.1", port)
		s = &server{start(t, program, append([]string{"-addr", addr}, args...)...), addr, "http://" + addr + "/"}
		for {
			resp, err := http.Get(s.url)
			if err == nil {
				return resp.Body.Close()
			}
			select {
			case <-s.done:
				return fmt.Errorf("it ended, and said %s", s.said.String())
			case <-time.After(25 * time.Millisecond):
			}
		}
	})
	t.Cleanup(func() {
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
		s.awaitEnd(t)
		if code := s.cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("after SIGTERM it ended with %v, want exit status 0", s.cmd.ProcessState)
		}
	})
	return s
}

// visitor is somebody with cookies of their own.
func (b *browser) visitor(t *testing.T) *browser {
	t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	return &browser{ctx}
}

// chatTab is a page of a chat.
type chatTab struct {
	*tab
	user, name string
}

// enter opens the chat, is asked for a name, and comes in.
func enter(t *testing.T, b *browser, s *server, name string, screen screen) *chatTab {
	t.Helper()
	tab := b.open(t, s, screen.emulate()...)
	tab.shot(t, "chat-"+strings.ToLower(screen.name)+"-name")
	tab.click(t, "#as")
	tab.do(t, chromedp.KeyEvent(name))
	tab.tapOrClick(t, screen, "header button")
	return listen(t, tab)
}

// openChat opens a room with a name that was given before.
func openChat(t *testing.T, b *browser, s *server, path string, screen screen) *chatTab {
	t.Helper()
	return listen(t, b.open(t, &server{url: s.url + path}, screen.emulate()...))
}

// listen has the page note down who was shown to be typing.
func listen(t *testing.T, tab *tab) *chatTab {
	t.Helper()
	eventually(t, func() error {
		if !evaluate[bool](t, tab, `!!document.querySelector("#typing")`) {
			return fmt.Errorf("the page asks for a name")
		}
		return nil
	})
	user := evaluate[string](t, tab, `
		globalThis.typings = [];
		new MutationObserver(() => { const shown = document.querySelector("#typing").textContent; if (shown) typings.push(shown); })
			.observe(document.querySelector("#typing"), { childList: true });
		document.querySelector("#as").value`)
	return &chatTab{tab, user, user + evaluate[string](t, tab, `location.search.replace("?", "-")`)}
}

// chatView is what a page shows.
type chatView struct {
	Title    string     `json:"title"`
	State    string     `json:"state"`
	Lines    []chatLine `json:"lines"`
	Typings  []string   `json:"typings"` // so far
	Problem  string     `json:"problem"`
	Text     string     `json:"text"`
	Elements int        `json:"elements"` // in messages: HTML that was not kept from working
}

type chatLine struct {
	Type string `json:"type"`
	Who  string `json:"who"`
	Text string `json:"text"`
}

func (v chatView) of(typ string) (lines []chatLine) {
	for _, l := range v.Lines {
		if l.Type == typ {
			lines = append(lines, l)
		}
	}
	return lines
}

func (v chatView) last() chatLine {
	if len(v.Lines) == 0 {
		return chatLine{}
	}
	return v.Lines[len(v.Lines)-1]
}

func (v chatView) ends(typ, who, text string) bool { return v.last() == chatLine{typ, who, text} }

func countOf(lines []chatLine, line chatLine) (n int) {
	for _, l := range lines {
		if l == line {
			n++
		}
	}
	return n
}

func (tab *chatTab) view(t *testing.T) chatView {
	t.Helper()
	return evaluate[chatView](t, tab.tab, `(() => {
		const text = (selector) => document.querySelector(selector).textContent;
		return {
			title: document.title, state: text("#state"), problem: text("#problem"), text: document.querySelector("#text").value, typings,
			lines: [...document.querySelectorAll("#log li")].map((li) => ({
				type: li.className, who: li.querySelector("button")?.textContent ?? "", text: li.querySelector("p").textContent,
			})),
			elements: document.querySelectorAll("#log p *").length,
		};
	})()`)
}

// await waits until the page is as wanted.
func (tab *chatTab) await(t *testing.T, what string, wanted func(chatView) bool) (v chatView) {
	t.Helper()
	eventually(t, func() error {
		if v = tab.view(t); !wanted(v) {
			return fmt.Errorf("%s waits for %s; the page shows %+v", tab.name, what, v)
		}
		return nil
	})
	return v
}

// write types text into the box, key by key.
func (tab *chatTab) write(t *testing.T, text string) {
	t.Helper()
	tab.click(t, "#text")
	tab.do(t, chromedp.KeyEvent(text))
	tab.await(t, "the text in the box", func(v chatView) bool { return v.Text == text })
}

func (tab *chatTab) submit(t *testing.T) {
	t.Helper()
	tab.enter(t)
	tab.await(t, "an empty box", func(v chatView) bool { return v.Text == "" && v.Problem == "" })
}

// heardOf is nil if the console has a line with text in it.
func (tab *chatTab) heardOf(text string) error {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	if slices.ContainsFunc(tab.console, func(m chromedp.ConsoleMessage) bool { return strings.Contains(m.Text, text) }) {
		return nil
	}
	return fmt.Errorf("the console of %s has nothing of %s", tab.name, text)
}

func evaluateAll(t *testing.T, tabs []*chatTab, script string) {
	t.Helper()
	for _, tab := range tabs {
		ctx, cancel := context.WithTimeout(tab.ctx, patience)
		if _, err := chromedp.Run(ctx, chromedp.Evaluate[chromedp.Void](script)); err != nil {
			t.Error(err)
		}
		cancel()
	}
}

// fits checks that nothing reaches beyond the sides, that all that can be used is in sight and large enough for a finger, and that
// the colors are those of the scheme.
func (tab *chatTab) fits(t *testing.T, s screen, scheme string) {
	t.Helper()
	l := evaluate[struct {
		Width, Height, ScrollWidth, ScrollHeight, Zoom float64
		Outside, Small                                 []string
		Dark                                           bool
		Ink, Paper                                     string
	}](t, tab.tab, `(() => {
		const visible = (e) => getComputedStyle(e).visibility === "visible", name = (e) => e.tagName + "#" + e.id;
		const controls = [...document.querySelectorAll("header input, header button, #write > *")].filter(visible);
		return {
			Width: innerWidth, Height: innerHeight, Zoom: visualViewport.scale,
			ScrollWidth: document.documentElement.scrollWidth, ScrollHeight: document.documentElement.scrollHeight,
			Outside: [...document.body.querySelectorAll("*")].filter((e) => {
				const { left, right } = e.getBoundingClientRect();
				return left < 0 || right > innerWidth || e.matches("ol, li") && e.scrollWidth > e.clientWidth;
			}).map(name),
			Small: controls.filter((e) => {
				const { x, y, width, height, bottom } = e.getBoundingClientRect();
				return height < 44 || width < 44 || bottom > innerHeight || !e.contains(document.elementFromPoint(x + width / 2, y + height / 2));
			}).map(name),
			Dark: matchMedia("(prefers-color-scheme: dark)").matches,
			Ink: getComputedStyle(document.body).color, Paper: getComputedStyle(document.body).backgroundColor,
		};
	})()`)
	ink, inkErr := luminance(l.Ink)
	paper, paperErr := luminance(l.Paper)
	if inkErr != nil || paperErr != nil {
		t.Fatal(inkErr, paperErr)
	}
	contrast := (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05)
	if l.Width != float64(s.width) || l.ScrollWidth > l.Width || l.ScrollHeight > l.Height || l.Zoom != 1 || len(l.Outside) > 0 || len(l.Small) > 0 ||
		l.Dark != (scheme == "dark") || (ink > paper) != l.Dark || contrast < 7 {
		t.Errorf("%s, %s, %s: %+v, contrast %.1f", tab.name, s.name, scheme, l, contrast)
	}
}
