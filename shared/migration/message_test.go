package migration_test

import (
	"strings"
	"testing"

	"github.com/mailferry/mailferry/shared/migration"
)

func full() migration.Message {
	return migration.Message{Version: 1, Wave: "w20261201-a1", Mailbox: "m0123456789abcdefghij", Pass: 3, Plan: "p1", Shard: 12, Turn: 4, Failures: 2, Epoch: 1}
}

func TestMessagesAreReadAsWritten(t *testing.T) {
	t.Parallel()
	for want, m := range map[string]migration.Message{
		`{"v":1,"wave":"w20261201-a1","mailbox":"m0123456789abcdefghij","pass":3,"plan":"p1","shard":12,"turn":4,"failures":2,"epoch":1}`: full(),
		`{"v":1,"wave":"w","mailbox":"m","pass":1}`: {Wave: "w", Mailbox: "m", Pass: 1},
	} {
		body := m.Encode()
		if string(body) != want {
			t.Errorf("written as %s, want %s", body, want)
		}
		m.Version = migration.MessageVersion
		if got, err := migration.DecodeMessage(body); err != nil || got != m {
			t.Errorf("read as %+v, err %v", got, err)
		}
	}
}

func TestBadMessagesNameTheField(t *testing.T) {
	t.Parallel()
	good := string(full().Encode())
	change := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	for _, test := range []struct{ name, body, want string }{
		{"nothing", "", "message body"},
		{"no JSON", "hello", "message body"},
		{"cut", good[:40], "message body"},
		{"an array", "[" + good + "]", "message body"},
		{"null", "null", "field v"},
		{"two messages", good + good, "more than one JSON value"},
		{"a later version", change(`"v":1`, `"v":2`), "field v: 2, this version of Mailferry reads 1"},
		{"no version", change(`"v":1,`, ``), "field v: 0"},
		{"a field of a later version", change(`"v":1`, `"v":1,"lane":"x"`), `"lane"`},
		{"a number as text", change(`"pass":3`, `"pass":"3"`), "pass"},
		{"a fraction", change(`"pass":3`, `"pass":3.5`), "pass"},
		{"no wave", change(`"w20261201-a1"`, `""`), "field wave: want 1 to 40"},
		{"a wave with a path in it", change(`"w20261201-a1"`, `"../x"`), "field wave"},
		{"an address for a mailbox", change(`"m0123456789abcdefghij"`, `"ann@example.org"`), "field mailbox"},
		{"a mailbox in capitals", change(`"m01`, `"M01`), "field mailbox"},
		{"a mailbox that is too long", change(`"m01`, `"m`+strings.Repeat("0", 40)), "field mailbox"},
		{"a plan with a line break", change(`"p1"`, `"p1\n"`), "field plan"},
		{"pass 0", change(`"pass":3`, `"pass":0`), "field pass: 0, want 1 or more"},
		{"a negative shard", change(`"shard":12`, `"shard":-1`), "field shard: -1, want 0 or more"},
		{"a negative turn", change(`"turn":4`, `"turn":-4`), "field turn"},
		{"negative failures", change(`"failures":2`, `"failures":-1`), "field failures"},
		{"a negative epoch", change(`"epoch":1`, `"epoch":-1`), "field epoch"},
		{"more than a queue takes", change(`"v":1`, `"v":1`+strings.Repeat(" ", 5000)), "bytes, at most 4096"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := migration.DecodeMessage([]byte(test.body))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("err = %v, want one with %q", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "ann@example.org") {
				t.Errorf("the error quotes an address: %v", err)
			}
		})
	}
}

func TestMessageIDsNameTheStep(t *testing.T) {
	t.Parallel()
	m := full()
	if got := m.ID(migration.CopyQueue); got != "copy/w20261201-a1/m0123456789abcdefghij/3/p1/12/4/1" {
		t.Errorf("id %s", got)
	}
	seen := map[string]string{m.ID(migration.CopyQueue): "the message"}
	for name, other := range map[string]func(*migration.Message){
		"wave": func(m *migration.Message) { m.Wave = "w2" }, "mailbox": func(m *migration.Message) { m.Mailbox = "m2" },
		"pass": func(m *migration.Message) { m.Pass++ }, "plan": func(m *migration.Message) { m.Plan = "p2" },
		"shard": func(m *migration.Message) { m.Shard++ }, "turn": func(m *migration.Message) { m.Turn++ }, "epoch": func(m *migration.Message) { m.Epoch++ },
	} {
		o := m
		other(&o)
		if as, twice := seen[o.ID(migration.CopyQueue)]; twice {
			t.Errorf("another %s has the id of %s", name, as)
		}
		seen[o.ID(migration.CopyQueue)] = name
	}
	if m.ID(migration.PlanQueue) == m.ID(migration.VerifyQueue) {
		t.Error("two queues share an id")
	}
}

// A failure is a turn of its own: duplicate detection would drop the second message of one ID.
func TestEveryTurnHasItsOwnID(t *testing.T) {
	t.Parallel()
	m := full()
	again, failed := m.Again(), m.Failed()
	if again.Turn != 5 || again.Failures != 2 || failed.Turn != 5 || failed.Failures != 3 || m != full() {
		t.Errorf("again %+v, failed %+v, before %+v", again, failed, m)
	}
	if m.ID(migration.CopyQueue) == again.ID(migration.CopyQueue) || m.ID(migration.CopyQueue) == failed.ID(migration.CopyQueue) {
		t.Error("the next turn has the same id")
	}
}

// Service Bus takes 128 characters of a message ID and of a session ID.
func TestIDsFitTheQueue(t *testing.T) {
	t.Parallel()
	const most = 1<<31 - 1
	m := migration.Message{Wave: migration.WaveID("w20261201-" + strings.Repeat("a", 12)), Mailbox: migration.MailboxFor("a@example.org", "b@example.org"),
		Pass: 9999, Plan: migration.PlanID(strings.Repeat("p", 12)), Shard: 99999, Turn: most, Epoch: 9999}
	for _, q := range migration.Queues {
		if id := m.ID(q); len(id) > 128 {
			t.Errorf("%s has %d characters", id, len(id))
		}
	}
}

func TestMailboxIDsHoldNoAddress(t *testing.T) {
	t.Parallel()
	id := migration.MailboxFor("Ann.Lee@example.org", "ann@example.com")
	m := migration.Message{Wave: "w", Mailbox: id, Pass: 1}
	if _, err := migration.DecodeMessage(m.Encode()); err != nil {
		t.Errorf("id %s is refused: %v", id, err)
	}
	for _, part := range []string{"ann", "lee", "example", "@", "."} {
		if strings.Contains(strings.ToLower(string(id)), part) {
			t.Errorf("id %s holds %q", id, part)
		}
	}
	if id != migration.MailboxFor("ann.lee@EXAMPLE.org", " ann@example.com") {
		t.Error("case and space make another mailbox")
	}
	if id == migration.MailboxFor("ann@example.com", "Ann.Lee@example.org") || id == migration.MailboxFor("ann.lee@example.org", "bob@example.com") {
		t.Error("another mailbox has the same id")
	}
}

func FuzzDecodeMessage(f *testing.F) {
	f.Add(full().Encode())
	f.Add([]byte(`{"v":1,"wave":"w","mailbox":"m","pass":1}`))
	for _, s := range []string{"", "{}", "null", "[]", `{"v":1e0}`, `{"V":1,"WAVE":"w","Mailbox":"m","pass":1}`, `{"v":1,"wave":"w","wave":"x","mailbox":"m","pass":1}`, "\x00", `{"v":1,"wave":"\u0077","mailbox":"m","pass":2147483648}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := migration.DecodeMessage(body)
		if err != nil {
			return
		}
		again, err := migration.DecodeMessage(m.Encode())
		if err != nil || again != m {
			t.Errorf("%q is read as %+v, written and read again as %+v, err %v", body, m, again, err)
		}
	})
}
