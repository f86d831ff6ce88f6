// Package e2e tests examples/dashboard and examples/chat as their visitors meet them: the built programs, on a real Redis, in a real Chromium.
//
//	go test -count=1 .                             # -count=1, for what is tested is not part of this module
//	E2E_SHOTS=/some/folder go test -count=1 .      # leaves pictures there
//
// Without chromium all is skipped; without redis-server an embedded one takes its place.
package e2e

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestDashboard holds all tests, so that they share one build and one browser. Each has servers and tabs of its own.
func TestDashboard(t *testing.T) {
	b := startBrowser(t)
	program := build(t, "dashboard")

	t.Run("InstancesOnOneRedisAreOne", func(t *testing.T) {
		redis := startRedis(t)
		onA, onB := startServer(t, program, "-redis", redis), startServer(t, program, "-redis", redis)
		a, b := b.open(t, onA), b.open(t, onB)
		awaitSubscribers(t, redis, 2, channel)
		nameA, nameB := a.awaitLive(t, 2, "on").Instance, b.awaitLive(t, 2, "on").Instance
		if nameA == nameB || nameA == "" || nameB == "" {
			t.Errorf("the instances call themselves %q and %q", nameA, nameB)
		}

		// Delivery is in order, also through Redis: were a message to arrive twice, it would do so before a later one of the
		// other tab. So it is enough to look once all have arrived.
		const html = `<b>bold</b> <img src="/x" onerror="document.title='owned'"> & "quotes"`
		a.typed(t, "first, ünïcode")
		a.enter(t)
		everywhere := []string{"first, ünïcode"}
		for i, text := range []string{"second", html, html + " again", "fifth", "sixth"} {
			awaitTexts(t, everywhere, a, b)
			sender := []*tab{b, a}[i%2]
			sender.typed(t, text)
			sender.click(t, "#send")
			everywhere = append(everywhere, text)
		}
		awaitTexts(t, everywhere, a, b)

		for _, at := range []struct {
			*tab
			froms []string
		}{
			{a, []string{"", nameB, "", nameB, "", nameB}},
			{b, []string{nameA, "", nameA, "", nameA, ""}},
		} {
			v := at.view(t)
			for kind, p := range v.panels() {
				if got := p.texts(); !slices.Equal(got, everywhere) {
					t.Errorf("%s on %s shows %q, want %q", kind, v.Instance, got, everywhere)
				}
				for i, m := range p.Messages {
					if m.From != at.froms[i] {
						t.Errorf("%s on %s says that %q is from %q, want %q", kind, v.Instance, m.Text, m.From, at.froms[i])
					}
					if m.Elements != 0 {
						t.Errorf("%s on %s made HTML of %q", kind, v.Instance, m.Text)
					}
				}
				if len(p.Notices) != 0 {
					t.Errorf("%s on %s has notices: %q", kind, v.Instance, p.Notices)
				}
			}
			if v.Title != "lobby · wskit dashboard" {
				t.Errorf("the title became %q", v.Title)
			}
			at.shot(t, "two-instances-"+map[*tab]string{a: "a", b: "b"}[at.tab])
		}

		// Each instance counts its own.
		third := b.browser.open(t, onA)
		third.awaitLive(t, 4, "on")
		a.awaitLive(t, 4, "on")
		b.awaitLive(t, 2, "on")
		third.silent(t)
		third.close(t)
		a.awaitLive(t, 2, "on")
		a.silent(t)
		b.silent(t)
	})

	for _, screen := range []screen{
		{"Phone", 390, 844, true},
		{"Desktop", 1280, 800, false},
	} {
		t.Run("Fits"+screen.name, func(t *testing.T) {
			tab := b.open(t, startServer(t, program), screen.emulate()...)
			tab.awaitLive(t, 2, "off")
			var texts []string
			for _, scheme := range []string{"light", "dark"} {
				name := strings.ToLower(screen.name) + "-" + scheme
				tab.do(t, colorScheme(scheme))
				tab.shot(t, name+"-before")
				tab.fits(t, screen, scheme)
				tab.speaksOf(t, screen)

				tab.tapOrClick(t, screen, "#text")
				tab.keys(t, "written on a "+name)
				tab.fits(t, screen, scheme)
				tab.tapOrClick(t, screen, "#send")
				texts = append(texts, "written on a "+name)
				awaitTexts(t, texts, tab)

				// What does not break by itself must not push the page apart, and a draft of many lines not the button out.
				wide := strings.Repeat("unbreakable", 30)
				tab.insert(t, wide+strings.Repeat("\nanother line", 20))
				tab.fits(t, screen, scheme)
				tab.tapOrClick(t, screen, "#send")
				texts = append(texts, wide+strings.Repeat("\nanother line", 20))
				awaitTexts(t, texts, tab)
				tab.typed(t, "a draft")
				tab.fits(t, screen, scheme)
				tab.shot(t, name)
				tab.enter(t)
				texts = append(texts, "a draft")
				awaitTexts(t, texts, tab)
			}
			tab.silent(t)
		})
	}

	for _, end := range []struct {
		name string
		stop func(*testing.T, *server)
	}{
		{"Restart", func(t *testing.T, s *server) { s.drain(t) }},
		{"Crash", func(t *testing.T, s *server) { s.kill(t) }},
	} {
		t.Run("PanelsComeBackAfterA"+end.name, func(t *testing.T) {
			shot := strings.ToLower(end.name)
			s := startServer(t, program)
			tab := b.open(t, s)
			tab.awaitLive(t, 2, "off")
			tab.typed(t, "before")
			tab.click(t, "#send")
			awaitTexts(t, []string{"before"}, tab)
			tab.silent(t)

			end.stop(t, s)
			tab.await(t, "both panels to notice", func(v view) bool {
				return v.WS.State == "reconnecting" && v.SSE.State == "reconnecting" && v.Connected == "–"
			})
			tab.typed(t, "kept")
			tab.click(t, "#send")
			tab.click(t, "#burst")
			tab.await(t, "a word about what was not sent", func(v view) bool {
				return v.Problem == "Not sent: the server cannot be reached." && v.Box == "kept" && v.Outcome == "Not done: the server cannot be reached."
			})
			tab.shot(t, shot+"-lost")

			startServer(t, program, "-addr", s.addr)
			tab.awaitLive(t, 2, "off")
			tab.await(t, "the problem to leave with what caused it", func(v view) bool { return v.Problem == "" && v.Outcome == "" && v.Box == "kept" })
			tab.click(t, "#send") // what was not sent is still in the box
			awaitTexts(t, []string{"before", "kept"}, tab)
			tab.typed(t, "after")
			tab.enter(t)
			awaitTexts(t, []string{"before", "kept", "after"}, tab)
			for kind, p := range tab.view(t).panels() {
				if len(p.Notices) != 3 || !strings.HasPrefix(p.Notices[0], "Connection lost") || !strings.HasPrefix(p.Notices[1], "Back after ") ||
					p.Notices[2] != "What was sent meanwhile is not here: the hub had to be made anew." {
					t.Errorf("%s has the notices %q", kind, p.Notices)
				}
			}
			tab.shot(t, shot+"-back")
			tab.silent(t, "net::ERR_", "WebSocket connection to") // what the browser itself says of each attempt
		})
	}

	t.Run("ListsFollowWhileADraftGrows", func(t *testing.T) {
		tab := b.open(t, startServer(t, program))
		tab.awaitLive(t, 2, "off")
		tall := "tall" + strings.Repeat("\nline", 40)
		tab.insert(t, tall)
		tab.click(t, "#send")
		awaitTexts(t, []string{tall}, tab)
		// The draft grows right after the frame that showed a message.
		evaluate[chromedp.Void](t, tab, `(() => {
			const box = document.querySelector("#text");
			const seen = new MutationObserver(() => {
				seen.disconnect();
				setTimeout(() => { box.value = "\n".repeat(20) + "draft"; box.dispatchEvent(new Event("input")); });
			});
			seen.observe(document.querySelector(".ws .messages"), { childList: true });
			fetch("/t/lobby/send", { method: "POST", body: "next" });
		})()`)
		tab.await(t, "next", func(v view) bool {
			return len(v.WS.Messages) == 2 && len(v.SSE.Messages) == 2 && strings.HasSuffix(v.Box, "draft")
		})
		evaluate[chromedp.Void](t, tab, `fetch("/t/lobby/send", { method: "POST", body: "last" })`)
		tab.await(t, "last", func(v view) bool { return len(v.WS.Messages) == 3 && len(v.SSE.Messages) == 3 })
		left := evaluate[[]float64](t, tab, `[...document.querySelectorAll(".scroll")].map((e) => e.scrollHeight - e.scrollTop - e.clientHeight)`)
		jumps := evaluate[int](t, tab, `document.querySelectorAll(".jump:not([hidden])").length`)
		if jumps != 0 || left[0] > 1 || left[1] > 1 {
			t.Errorf("the lists do not follow: %v below, %d buttons", left, jumps)
		}
	})

	t.Run("WhatTheServerSaysOfItselfIsNoMessage", func(t *testing.T) {
		tab := b.open(t, startServer(t, program))
		tab.awaitLive(t, 2, "off")
		// The numbers come once a second; the rates of the seconds between are drawn.
		evaluate[chromedp.Void](t, tab, `(() => {
			window.beats = 0;
			new MutationObserver(() => window.beats++).observe(document.querySelector("#connected"), { childList: true });
		})()`)
		beats := func(n int) {
			eventually(t, func() error {
				if got := evaluate[int](t, tab, `window.beats`); got < n {
					return fmt.Errorf("%d of %d beats", got, n)
				}
				return nil
			})
		}
		peaks := func() []string {
			return evaluate[[]string](t, tab, `[...document.querySelectorAll(".peak")].map((e) => e.textContent)`)
		}
		beats(3)
		tab.await(t, "beats", func(v view) bool { return v.WS.Beats > 10 && v.SSE.Beats > 10 })
		if got := slices.Compact(peaks()); !slices.Equal(got, []string{"Last minute, peak 0"}) {
			t.Errorf("nothing was sent, and the page says %q", got)
		}
		tab.typed(t, "one")
		tab.enter(t)
		awaitTexts(t, []string{"one"}, tab)
		eventually(t, func() error {
			if got := peaks(); got[0] != "Last minute, peak 1" || got[2] != "Last minute, peak 1" {
				return fmt.Errorf("one message was sent, and the page says %q", got)
			}
			return nil
		})
		if said := evaluate[string](t, tab, `document.querySelector(".numbers").innerText.replace(/\s+/g, " ")`); !strings.Contains(said, "2 (2 for each tab)") {
			t.Errorf("of its connections the page says %q", said)
		}
	})

	t.Run("CrashesHealAndNothingIsMissing", func(t *testing.T) {
		s := startServer(t, program)
		tab, other := b.open(t, s), b.open(t, s)
		other.do(t, chromedp.Navigate(s.url+"t/globex"))
		tab.awaitLive(t, 2, "off")
		other.awaitLive(t, 2, "off")
		crash := func(actor string) {
			t.Helper()
			eventually(t, func() error { // as often as the server lets it
				evaluate[chromedp.Void](t, tab, `document.querySelector("#outcome").textContent = ""`) // of the crash before
				tab.click(t, fmt.Sprintf("[data-actor=%s] button", actor))
				v := tab.await(t, "an answer", func(v view) bool { return v.Outcome != "" })
				if !strings.Contains(v.Outcome, "was made to crash") {
					return errors.New(v.Outcome)
				}
				return nil
			})
		}
		for i, actor := range []string{"registry", "listener", "connections"} {
			tab.click(t, "#text")
			tab.keys(t, actor)
			crash(actor)
			tab.click(t, "#send")
			tab.await(t, "the restart of "+actor, func(v view) bool {
				return v.Restarts[actor] == 1 && v.Happened[0] == actor+" crashed, and was started again" && len(v.WS.Messages) == i+1 && len(v.SSE.Messages) == i+1
			})
		}
		tab.shot(t, "crashes")
		tab.unharmed(t, 0)

		// A connection's own actor is not restarted: its page comes back, and gets what it missed.
		for _, actor := range []string{"ws-1", "sse-2"} {
			if _, there := tab.view(t).Restarts[actor]; !there {
				actor = map[string]string{"ws-1": "ws-2", "sse-2": "sse-1"}[actor] // whoever was first
			}
			crash(actor)
			tab.await(t, "another connection", func(v view) bool {
				_, there := v.Restarts[actor]
				return !there && len(v.Restarts) == 6 && v.WS.State == "live" && v.SSE.State == "live"
			})
		}
		tab.unharmed(t, 2)

		crash("hub")
		tab.await(t, "both panels to come back", func(v view) bool {
			return v.Happened[0] == "the hub crashed: it is given up, and made anew" &&
				len(v.WS.Notices) == 5 && len(v.SSE.Notices) == 5 && v.WS.State == "live" && v.SSE.State == "live"
		})
		for kind, p := range tab.view(t).panels() {
			if last := p.Notices[4]; last != "What was sent meanwhile is not here: the hub had to be made anew." {
				t.Errorf("%s says of that %q", kind, p.Notices)
			}
		}
		other.unharmed(t, 0) // by all of this
		other.silent(t)
	})

	t.Run("AThousandArriveBesideASlowClient", func(t *testing.T) {
		tab := b.open(t, startServer(t, program))
		tab.awaitLive(t, 2, "off")
		slow := func(policy string) {
			evaluate[chromedp.Void](t, tab, fmt.Sprintf(`document.querySelector("#policy").value = %q`, policy))
			tab.click(t, "#slow")
			tab.awaitLive(t, 3, "off")
		}
		slow("oldest")
		tab.click(t, "#burst")
		bursts := []string{"1,000 of 1,000, in order"}
		tab.await(t, "a thousand messages, and drops", func(v view) bool {
			return slices.Equal(v.WS.Bursts, bursts) && slices.Equal(v.SSE.Bursts, bursts) && v.Numbers["oldest"] >= 900 && v.Numbers["deepest"] == 16
		})
		tab.shot(t, "slow")
		tab.click(t, "#slow")
		tab.awaitLive(t, 2, "off")

		slow("disconnect")
		tab.click(t, "#burst")
		bursts = append(bursts, bursts...)
		tab.await(t, "another thousand, and the slow client's end", func(v view) bool {
			return slices.Equal(v.WS.Bursts, bursts) && slices.Equal(v.SSE.Bursts, bursts) && v.Numbers["cutoff"] == 1 &&
				v.Happened[0] == "the slow client was cut off, since it did not keep up (1013)" && v.Connected == "2"
		})
		tab.unharmed(t, 0)
		tab.silent(t)
	})

	t.Run("TenantsAreApartAndInTheAddress", func(t *testing.T) {
		s := startServer(t, program)
		lobby, acme := b.open(t, s), b.open(t, s)
		acme.click(t, "#other")
		acme.do(t, chromedp.KeyEvent("acme"))
		acme.click(t, "#tenants button")
		acme.await(t, "its page", func(v view) bool { return v.Tenant == "acme" && v.Title == "acme · wskit dashboard" })
		acme.do(t, chromedp.Reload())
		acme.awaitLive(t, 2, "off")
		lobby.awaitLive(t, 2, "off")
		for _, tab := range []*tab{lobby, acme} { // first the one, and when that has arrived the other
			text := "for " + tab.view(t).Tenant
			tab.typed(t, text)
			tab.enter(t)
			awaitTexts(t, []string{text}, tab)
		}
		if got := lobby.view(t); !slices.Equal(got.WS.texts(), []string{"for lobby"}) || !slices.Equal(got.SSE.texts(), []string{"for lobby"}) {
			t.Errorf("the lobby hears %q and %q", got.WS.texts(), got.SSE.texts())
		}
		lobby.silent(t)
		acme.silent(t)
	})

	t.Run("ACutLinkToRedisCostsNothing", func(t *testing.T) {
		redis := startRedis(t)
		onA, onB := startServer(t, program, "-redis", redis), startServer(t, program, "-redis", redis)
		a, b := b.open(t, onA), b.open(t, onB)
		a.awaitLive(t, 2, "on")
		nameB := b.awaitLive(t, 2, "on").Instance
		eventually(t, func() error {
			if got := evaluate[string](t, a, `document.querySelector("#others").textContent + document.querySelector("#delay").textContent`); !strings.HasPrefix(got, nameB) || !strings.HasSuffix(got, "ms there and back") {
				return fmt.Errorf("of its neighbour and the delay the page says %q", got)
			}
			return nil
		})
		a.click(t, "#cut")
		a.await(t, "the cut", func(v view) bool {
			return v.Redis == "on" && slices.ContainsFunc(v.Happened, func(h string) bool { return strings.HasSuffix(h, "connections to Redis were cut") }) &&
				slices.Contains(v.Happened, "Redis is lost, working locally until it is back") && v.Happened[0] == "Redis is there, instances are one"
		})
		a.typed(t, "after the cut")
		a.enter(t)
		awaitTexts(t, []string{"after the cut"}, a, b)
		a.unharmed(t, 0)
		b.unharmed(t, 0)
	})

	t.Run("SIGTERMDrains", func(t *testing.T) {
		s := startServer(t, program)
		tab := b.open(t, s)
		tab.awaitLive(t, 2, "off")
		tab.typed(t, "last words")
		tab.enter(t)
		awaitTexts(t, []string{"last words"}, tab)
		s.drain(t)
		if said := s.said.String(); !strings.Contains(said, "draining 2 connections…") {
			t.Errorf("it does not say that it drains 2 connections:\n%s", said)
		}
		v := tab.await(t, "both panels to notice", func(v view) bool { return v.WS.State != "live" && v.SSE.State != "live" })
		for kind, p := range v.panels() {
			if got := p.texts(); !slices.Equal(got, []string{"last words"}) {
				t.Errorf("%s shows %q", kind, got)
			}
		}
	})
}

// unharmed waits for a second of beats more, and checks that none was missing or came twice, and that the panels had so many notices.
func (tab *tab) unharmed(t *testing.T, notices int) {
	t.Helper()
	before := tab.view(t)
	after := tab.await(t, "more beats", func(v view) bool { return v.WS.Beats >= before.WS.Beats+5 && v.SSE.Beats >= before.SSE.Beats+5 })
	for kind, p := range after.panels() {
		if p.Missing != "0" || len(p.Notices) != notices {
			t.Errorf("over %s %q of %d beats are missing, and it has the notices %q", kind, p.Missing, p.Beats, p.Notices)
		}
	}
}

// awaitTexts waits until both panels of all tabs show these messages and no others.
func awaitTexts(t *testing.T, want []string, tabs ...*tab) {
	t.Helper()
	for _, tab := range tabs {
		tab.await(t, fmt.Sprintf("%q in both panels", want[len(want)-1]), func(v view) bool {
			return slices.Equal(v.WS.texts(), want) && slices.Equal(v.SSE.texts(), want)
		})
	}
	for _, tab := range tabs {
		tab.await(t, "an empty box", func(v view) bool { return v.Box == "" && v.Problem == "" })
	}
}

// screen is a size to try.
type screen struct {
	name          string
	width, height int64
	phone         bool
}

func (s screen) emulate() []chromedp.Action[chromedp.Void] {
	if s.phone {
		return steps(chromedp.EmulateViewport(s.width, s.height,
			chromedp.EmulateScale(2), chromedp.EmulatePortrait, chromedp.EmulateMobile, chromedp.EmulateTouch))
	}
	return steps(chromedp.EmulateViewport(s.width, s.height))
}

// speaksOf checks that keys and terminals are spoken of where there are some, to those who hear the page too.
func (tab *tab) speaksOf(t *testing.T, s screen) {
	t.Helper()
	shown := evaluate[[]bool](t, tab, `["#hint", ".ws .terminal", ".sse .terminal + pre"].map((s) => getComputedStyle(document.querySelector(s)).display !== "none")`)
	if slices.Contains(shown, s.phone) {
		t.Errorf("%s: the hint at keys, and those at terminals, are shown: %v", s.name, shown)
	}
	described := evaluate[bool](t, tab, `document.querySelector("#text").getAttribute("aria-describedby").includes("hint")`)
	if described == s.phone {
		t.Errorf("%s: the box is described by the hint at keys: %v", s.name, described)
	}
}

// fits checks that nothing reaches beyond the sides, that the box to write in and its button are in sight and can be used, and that the colors are those of
// the scheme.
func (tab *tab) fits(t *testing.T, s screen, scheme string) {
	t.Helper()
	l := tab.layout(t)
	check := func(ok bool, format string, args ...any) {
		t.Helper()
		if !ok {
			t.Errorf("%s, %s: %s", s.name, scheme, fmt.Sprintf(format, args...))
		}
	}
	check(l.Width == float64(s.width) && l.Height == float64(s.height) && l.Zoom == 1,
		"the page takes %v by %v at zoom %v", l.Width, l.Height, l.Zoom)
	check(l.ScrollWidth <= l.Width, "the page is %v wide", l.ScrollWidth)
	check(len(l.Outside) == 0, "beyond the sides: %q", l.Outside)
	check(len(l.Panels) == 2, "%d panels", len(l.Panels))
	for name, p := range map[string]place{"box": l.Box, "button": l.Button} {
		check(p.within(l), "the %s is at %+v, not in sight", name, p)
		check(p.Hit, "something covers the %s", name)
		check(p.bottom()-p.Y >= 44, "the %s is %v high, too low for a finger", name, p.bottom()-p.Y)
	}
	if s.phone {
		check(len(l.Low) == 0, "too low for a finger: %q", l.Low)
	}
	for i, p := range l.Panels {
		check(p.X >= 0 && p.right() <= l.Width, "panel %d is at %+v", i, p)
		check(p.W >= 300 && p.H >= 200, "panel %d has only %v by %v", i, p.W, p.H)
	}
	if len(l.Panels) == 2 {
		ws, sse := l.Panels[0], l.Panels[1]
		if s.phone {
			check(ws.bottom() <= sse.Y && ws.X == sse.X, "the panels are not one above the other: %+v", l.Panels)
		} else {
			check(ws.right() <= sse.X && ws.Y == sse.Y, "the panels are not side by side: %+v", l.Panels)
		}
	}

	ink, inkErr := luminance(l.Ink)
	paper, paperErr := luminance(l.Paper)
	if err := errors.Join(inkErr, paperErr); err != nil {
		t.Fatal(err)
	}
	check(l.Dark == (scheme == "dark"), "the browser says dark: %v", l.Dark)
	check((ink > paper) == l.Dark, "%s on %s", l.Ink, l.Paper)
	contrast := (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05)
	check(contrast >= 7, "the contrast of text is %.1f, want 7", contrast)
}
