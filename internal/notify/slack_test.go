package notify

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/state"
)

var updateGolden = flag.Bool("update-golden", false, "write the expected messages anew")

var nine = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

// story is what two clusters and a campaign may go through.
func story() []state.Event {
	var all []state.Event
	add := func(e state.Event) {
		e.Seq, e.At = int64(len(all)+7), nine.Add(time.Duration(len(all))*time.Second)
		if e.Campaign == "" {
			e.Campaign = "spring"
		}
		all = append(all, e)
	}
	qa, prod := fleet.ClusterRef{Env: "qa", Name: "orders"}, fleet.ClusterRef{Env: "prod", Name: "orders"}
	add(state.Event{Kind: "launched", Who: "launcher", Message: "2 started, 4 held, 0 arrived"})
	for _, ref := range []fleet.ClusterRef{qa, prod} {
		add(state.Event{Kind: "action-queued", Ref: ref, Stage: "create", Message: "create forward", Who: "launcher"})
	}
	add(state.Event{Kind: "step-done", Ref: qa, Stage: "create", Step: "seed-nodes", Message: "41 GB copied\nin 12 minutes"})
	add(state.Event{Kind: "step-done", Ref: prod, Stage: "create", Step: "seed-nodes", Message: "120 GB copied"})
	add(state.Event{Kind: "action-completed", Ref: qa, Stage: "create", Message: "create forward completed"})
	add(state.Event{Kind: "action-queued", Ref: qa, Stage: "verify", Message: "verify forward"})
	add(state.Event{Kind: "action-needs-human", Loud: true, Ref: prod, Stage: "create", Message: "no space left on <prod-orders-green-1> & nowhere else; see <!channel> *now*"})
	return all
}

// The messages of a story are as they were looked at once.
func TestSlackMessages(t *testing.T) {
	ms, err := slackFormat{"ops", "https://windlass.example:8480/"}.messages(story())
	must(t, err)
	var got bytes.Buffer
	for _, m := range ms {
		fmt.Fprintf(&got, "# %s\n", m.id)
		must(t, json.Indent(&got, m.body, "", "  "))
		got.WriteString("\n")
	}
	plain, err := slackFormat{"ops", ""}.plain(story()[7])
	must(t, err)
	fmt.Fprintf(&got, "# plain\n%s\n", plain.body)
	const golden = "testdata/slack.golden"
	if *updateGolden {
		must(t, os.WriteFile(golden, got.Bytes(), 0o644))
	}
	want, err := os.ReadFile(golden)
	must(t, err)
	if !bytes.Equal(want, got.Bytes()) {
		t.Errorf("the messages have changed; look at them, and write them anew with -update-golden:\n%s", got.String())
	}
}

var ours = regexp.MustCompile(`<(https://windlass\.example/[^<>|]*\|[^<>|]*|!date\^\d+\^\{time_secs\}\|[0-9: UTC]+)>`)

var ranges = regexp.MustCompile(`^events ([0-9–, ]+) · `)

// Whatever events say, each message is one that Slack takes; all events are in them, once, and those of a subject in order.
func TestSlackMessagesAreWithinItsBounds(t *testing.T) {
	text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "<!channel> & <@U1>", "&amp;", "`x` *b*|y", strings.Repeat("&", 1500), strings.Repeat("<é>\n", 400), "\xff\xfe\x00", strings.Repeat("x", 3000)}))
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 400).Draw(t, "events")
		clusters := rapid.IntRange(1, 60).Draw(t, "clusters")
		loudEach := rapid.SampledFrom([]int{2, 7, 40, 1000}).Draw(t, "loud")
		messages := []string{text.Draw(t, "a message"), text.Draw(t, "another"), text.Draw(t, "a third")}
		name := text.Draw(t, "name")
		var events []state.Event
		for i := range n {
			e := state.Event{Seq: int64(i + 1), At: nine.Add(time.Duration(i) * time.Millisecond), Kind: "step-done", Step: messages[i%3], Campaign: name, Message: messages[(i+1)%3], Stage: []string{"create", "verify"}[i/20%2], Loud: i%loudEach == loudEach-1}
			if i%11 != 0 {
				e.Ref = fleet.ClusterRef{Env: "qa", Name: fmt.Sprint("c", i%clusters, name)}
			}
			if i%5 == 0 {
				e.Who = messages[(i+2)%3]
			}
			events = append(events, e)
		}
		ms, err := slackFormat{"s", "https://windlass.example"}.messages(events)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[int64]bool{}
		last := map[string]int64{}
		for _, m := range ms {
			var b slackBody
			if err := json.Unmarshal(m.body, &b); err != nil {
				t.Fatal(err)
			}
			if len(b.Blocks) > 50 || len(m.body) > 64<<10 || b.Text == "" || utf8.RuneCountInString(b.Text) > 4000 {
				t.Fatalf("%d blocks, %d bytes, text of %d", len(b.Blocks), len(m.body), len(b.Text))
			}
			lines := 0
			for _, block := range b.Blocks[:len(b.Blocks)-1] {
				if block.Type != "section" || utf8.RuneCountInString(block.Text.Text) > 3000 || block.Text.Text == "" {
					t.Fatalf("a section of %d", utf8.RuneCountInString(block.Text.Text))
				}
				lines += strings.Count(block.Text.Text, "\n")
				if rest := ours.ReplaceAllString(block.Text.Text, ""); strings.ContainsAny(rest, "<>") {
					t.Fatalf("markup that is not ours: %q", rest)
				}
			}
			if strings.ContainsAny(b.Text, "<>") {
				t.Fatalf("markup in %q", b.Text)
			}
			if lines != len(m.events) {
				t.Fatalf("%d lines of %d events", lines, len(m.events))
			}
			context := b.Blocks[len(b.Blocks)-1].Elements[0].Text
			if utf8.RuneCountInString(context) > 2000 {
				t.Fatalf("a context of %d", len(context))
			}
			if got := listed(t, context); !slices.Equal(got, seqs(m.events)) {
				t.Fatalf("%q lists %v of %v", context, got, seqs(m.events))
			}
			for _, e := range m.events {
				if seen[e.Seq] || e.Seq < last[subject(e)] {
					t.Fatalf("event %d of %s comes twice, or after %d", e.Seq, subject(e), last[subject(e)])
				}
				seen[e.Seq], last[subject(e)] = true, e.Seq
			}
			if p, err := (slackFormat{"s", ""}).plain(m.events[0]); err != nil || len(p.body) > 4000 {
				t.Fatal(err, len(p.body))
			}
		}
		if len(seen) != n {
			t.Fatalf("%d of %d events", len(seen), n)
		}
		if most := n/10 + clusters + 8; len(ms) > most { // the channel is not flooded
			t.Fatalf("%d messages for %d events of %d clusters", len(ms), n, clusters)
		}
	})
}

func seqs(events []state.Event) (all []int64) {
	for _, e := range events {
		all = append(all, e.Seq)
	}
	slices.Sort(all)
	return all
}

// listed reads "events 4, 7–9 · …".
func listed(t *rapid.T, text string) (all []int64) {
	m := ranges.FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("no numbers: %q", text)
	}
	for r := range strings.SplitSeq(m[1], ", ") {
		from, to, ok := strings.Cut(r, "–")
		if !ok {
			to = from
		}
		a, _ := strconv.ParseInt(from, 10, 64)
		b, _ := strconv.ParseInt(to, 10, 64)
		for ; a <= b; a++ {
			all = append(all, a)
		}
	}
	return all
}

// A quiet campaign of fifty clusters is one message, not fifty; what is loud has one of its own, and comes first.
func TestTheChannelIsNotFlooded(t *testing.T) {
	var events []state.Event
	for i := range 100 {
		events = append(events, state.Event{Seq: int64(i + 1), At: nine, Kind: "action-queued", Campaign: "spring", Ref: fleet.ClusterRef{Env: "prod", Name: fmt.Sprint("c", i%50)}, Stage: "create"})
	}
	f := slackFormat{"s", ""}
	ms, err := f.messages(events)
	must(t, err)
	if len(ms) > 5 { // 50 parts, 12 in a message
		t.Errorf("%d messages", len(ms))
	}
	events[77].Loud = true
	ms, err = f.messages(events)
	must(t, err)
	if len(ms) > 6 || len(ms[0].events) != 2 || ms[0].events[1].Seq != 78 || !bytes.Contains(ms[0].body, []byte("rotating_light")) {
		t.Errorf("%d messages, the first with %v", len(ms), seqs(ms[0].events))
	}
	for i := range events {
		events[i].Loud = true
	}
	if ms, err = f.messages(events); err != nil || len(ms) > 5 {
		t.Errorf("%d messages when all of the fleet is loud, %v", len(ms), err)
	}
}

// The signature is that of the Standard Webhooks: their own example.
func TestSignature(t *testing.T) {
	key, err := signingKey("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	must(t, err)
	h := http.Header{}
	sign(h, message{id: "msg_p5jXN8AQM9LWM0D4loKWxJek", body: []byte(`{"test": 2432232314}`)}, key, time.Unix(1614265330, 0))
	if got, want := h.Get("webhook-signature"), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want || h.Get("webhook-timestamp") != "1614265330" {
		t.Errorf("%s, want %s", got, want)
	}
}

// Requests of a webhook are bounded, and one long event goes alone.
func TestWebhookBounds(t *testing.T) {
	var events []state.Event
	for i := range 250 {
		events = append(events, state.Event{Seq: int64(i + 1), At: nine, Kind: "k", Message: strings.Repeat("x", 100)})
	}
	events[10].Message = strings.Repeat("y", 2*webhookBytes)
	ms, err := webhookFormat{"s", ""}.messages(events)
	must(t, err)
	var sizes []int
	for _, m := range ms {
		sizes = append(sizes, len(m.events))
	}
	if !slices.Equal(sizes, []int{10, 1, 100, 100, 39}) {
		t.Errorf("%v", sizes)
	}
}
