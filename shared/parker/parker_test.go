package parker_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/mailferry/mailferry/shared/blob"
	"github.com/mailferry/mailferry/shared/bus"
	"github.com/mailferry/mailferry/shared/ledger"
	"github.com/mailferry/mailferry/shared/mailbox/mailboxtest"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/operator"
	"github.com/mailferry/mailferry/shared/parker"
	"github.com/mailferry/mailferry/shared/pipeline/pipelinetest"
)

var errAway = errors.New("no route to host")

func dead(l bus.Letter) parker.Letter {
	return parker.Letter{Queue: l.Queue, ID: l.Message.ID(l.Queue), Reason: "MaxDeliveryCountExceeded", Description: "never acknowledged",
		Deliveries: 10, Body: l.Message.Encode()}
}

// story is a mailbox whose first copy message became a dead letter.
func story(t *testing.T) (*pipelinetest.Story, parker.Letter) {
	t.Helper()
	s := pipelinetest.Tell(t)
	mailboxtest.Fill(t, s.Source, "inbox", 0, 3)
	s.Begin()
	return s, dead(s.Until(migration.CopyQueue))
}

func park(t *testing.T, s *pipelinetest.Story, l parker.Letter) {
	t.Helper()
	if err := s.Parker.Park(t.Context(), l); err != nil {
		t.Fatal(err)
	}
}

// kept lists what is kept of letters, and the problems that stand under no wave.
func kept(t *testing.T, s *pipelinetest.Story) (names []string, problems []ledger.Problem) {
	t.Helper()
	for name, err := range s.Reports.Names(t.Context(), "parked/") {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	for p, err := range s.Ledger.ProblemsOf(t.Context(), parker.Unreadable, "") {
		if err != nil {
			t.Fatal(err)
		}
		problems = append(problems, p)
	}
	return names, problems
}

// A mailbox whose message is lost has failed, says so in words, and goes on when a person asks for it.
func TestADeadLettersMailboxFails(t *testing.T) {
	t.Parallel()
	s, l := story(t)
	for range 2 { // a delivery that comes again
		s.Clock.Advance(time.Minute)
		park(t, s, l)
	}
	const why = "copy gave up after 10 deliveries (MaxDeliveryCountExceeded); look at the log of this mailbox, then retry it"
	b, at := s.Box(), pipelinetest.Start.Add(time.Minute)
	if b.State != migration.Failed || b.Problem != why || !b.Finished.Equal(at) {
		t.Errorf("%s since %s, problem %q", b.State, b.Finished, b.Problem)
	}
	want := ledger.Problem{Mailbox: b.ID, Pass: 1, About: "parked-copy", Reason: "parked", Detail: why, Seen: at}
	if p := s.Problems(); len(p) != 1 || p[0] != want {
		t.Errorf("problems %+v, want one: %+v", p, want)
	}
	if names, problems := kept(t, s); names != nil || problems != nil {
		t.Errorf("kept as unreadable: %v, %v", names, problems)
	}
	if _, err := s.Operator.Act(t.Context(), operator.Retry, s.Wave, ""); err != nil {
		t.Fatal(err)
	}
	s.Finish()
	if b := s.Box(); b.State != migration.Done || b.Problem != "" || b.Counts.Match != 3 {
		t.Errorf("after a retry: %s, %q, %+v", b.State, b.Problem, b.Counts)
	}
}

// A letter about a step that is over is written down, and the mailbox stays what it is.
func TestAMailboxThatHasGoneOn(t *testing.T) {
	t.Parallel()
	for name, goOn := range map[string]func(*pipelinetest.Story, parker.Letter){
		"planned anew": func(s *pipelinetest.Story, _ parker.Letter) {
			s.Change(func(b *migration.Mailbox) { b.Plans = append(b.Plans, migration.Plan{ID: "p9", Pass: 1}) })
		},
		"copying another shard": func(s *pipelinetest.Story, _ parker.Letter) {
			s.Change(func(b *migration.Mailbox) { b.Shard = 1 })
		},
		"in another pass": func(s *pipelinetest.Story, _ parker.Letter) {
			s.Change(func(b *migration.Mailbox) { b.Pass = 2 })
		},
		"done": func(s *pipelinetest.Story, _ parker.Letter) {
			s.Change(func(b *migration.Mailbox) { b.State = migration.Done })
		},
		"cancelled": func(s *pipelinetest.Story, _ parker.Letter) {
			s.Change(func(b *migration.Mailbox) { b.State = migration.Cancelled })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, l := story(t)
			goOn(s, l)
			before := s.Box()
			park(t, s, l)
			if after := s.Box(); after.State != before.State || after.Problem != "" || !after.Finished.Equal(before.Finished) {
				t.Errorf("%s became %s, problem %q", before.State, after.State, after.Problem)
			}
			if p := s.Problems(); len(p) != 1 || p[0].Reason != "parked" {
				t.Errorf("problems: %+v", p)
			}
		})
	}
}

// A letter that nobody can act on is kept byte for byte and reported once, however often it comes.
func TestALetterThatNobodyCanActOn(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*testing.T, *pipelinetest.Story, *parker.Letter)
		why    string
	}{
		{"not a message", func(_ *testing.T, _ *pipelinetest.Story, l *parker.Letter) { l.Body = []byte("\x00\xff<not ours>") },
			"message cannot be read: message body: "},
		{"of a later version", func(_ *testing.T, _ *pipelinetest.Story, l *parker.Letter) {
			l.Body = []byte(strings.Replace(string(l.Body), `"v":1`, `"v":2`, 1))
		}, "message cannot be read: field v: "},
		{"of a mailbox that is not in the ledger", func(t *testing.T, s *pipelinetest.Story, _ *parker.Letter) {
			if err := s.Ledger.RemoveMailbox(t.Context(), s.Box()); err != nil {
				t.Fatal(err)
			}
		}, "message is about a mailbox that the ledger does not know, or whose row is damaged"},
		{"of a mailbox whose row is damaged", func(t *testing.T, s *pipelinetest.Story, _ *parker.Letter) {
			r, err := s.Ledger.Mailboxes.Row(t.Context(), string(s.Wave), string(s.Box().ID))
			if err != nil {
				t.Fatal(err)
			}
			r.Body[len(r.Body)/2] ^= 1
			if _, err := s.Ledger.Mailboxes.Replace(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}, "message is about a mailbox that the ledger does not know, or whose row is damaged"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, l := story(t)
			tt.change(t, s, &l)
			for range 3 {
				park(t, s, l)
				s.Clock.Advance(time.Hour)
			}
			names, problems := kept(t, s)
			if len(names) != 1 || len(problems) != 1 {
				t.Fatalf("kept %v, problems %+v", names, problems)
			}
			p := problems[0]
			if p.Mailbox != "unknown" || p.Pass != 0 || p.Reason != "parked" || !strings.HasPrefix(p.Detail, tt.why) || !strings.HasSuffix(p.Detail, "; its bytes are in reports/"+names[0]) {
				t.Errorf("problem %+v", p)
			}
			body, err := blob.ReadAll(t.Context(), s.Reports, names[0], 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			var got parker.Letter
			err = json.Unmarshal(body, &got)
			if l.Seen = pipelinetest.Start; err != nil || string(got.Body) != string(l.Body) || !got.Seen.Equal(l.Seen) || got.ID != l.ID || got.Queue != l.Queue ||
				got.Reason != l.Reason || got.Description != l.Description || got.Deliveries != l.Deliveries {
				t.Errorf("kept %+v, %v", got, err)
			}
			l.ID = "another"
			park(t, s, l)
			if names, problems := kept(t, s); len(names) != 2 || len(problems) != 2 || !strings.HasPrefix(names[1], "parked/copy/") {
				t.Errorf("after another letter: %v, %d problems", names, len(problems))
			}
		})
	}
}

// awayTable and awayStore are what nobody reaches.
type (
	awayTable struct{ ledger.Table }
	awayStore struct{ blob.Store }
)

func (awayTable) Row(context.Context, string, string) (ledger.Row, error) {
	return ledger.Row{}, errAway
}
func (awayTable) Insert(context.Context, ...ledger.Row) error  { return errAway }
func (awayStore) Put(context.Context, string, io.Reader) error { return errAway }

// A letter that could not be recorded must come again: it is the last that is known of it.
func TestALetterThatCannotBeRecorded(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		body string // instead of the letter's
		off  func(*pipelinetest.Story)
	}{
		{"no mailboxes", "", func(s *pipelinetest.Story) { s.Ledger.Mailboxes = awayTable{} }},
		{"no problems", "", func(s *pipelinetest.Story) { s.Ledger.Problems = awayTable{} }},
		{"no problems for what cannot be read", "x", func(s *pipelinetest.Story) { s.Ledger.Problems = awayTable{} }},
		{"no reports", "x", func(s *pipelinetest.Story) { s.Parker.Reports = awayStore{} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, l := story(t)
			if tt.body != "" {
				l.Body = []byte(tt.body)
			}
			mailboxes, problems, reports := s.Ledger.Mailboxes, s.Ledger.Problems, s.Parker.Reports
			tt.off(s)
			if err := s.Parker.Park(t.Context(), l); !errors.Is(err, errAway) {
				t.Errorf("error %v", err)
			}
			s.Ledger.Mailboxes, s.Ledger.Problems, s.Parker.Reports = mailboxes, problems, reports
			park(t, s, l)
			if names, problems := kept(t, s); len(names)+len(s.Problems()) != 1 || len(problems) != len(names) {
				t.Errorf("when it comes again: kept %v, problems %+v, %+v", names, problems, s.Problems())
			}
		})
	}
}

// away takes no letters.
type away struct{}

func (away) Send(context.Context, ...bus.Letter) error { return errAway }

// A plan message may die between the ledger's row and the copy message: then the mailbox has gone on, and nobody else would
// send that. (One of the other queues makes its mailbox fail, where a person sees it.)
func TestALetterThatDiedBeforeItSentWhatFollows(t *testing.T) {
	t.Parallel()
	s := pipelinetest.Tell(t)
	mailboxtest.Fill(t, s.Source, "inbox", 0, 3)
	s.Begin()
	l := s.Next()
	planner := *s.Planner
	planner.Bus = away{}
	for range 10 {
		if err := planner.Plan(t.Context(), l.Message); !errors.Is(err, errAway) {
			t.Fatalf("error %v", err)
		}
	}
	park(t, s, dead(l))
	s.Finish()
	if b := s.Box(); b.State != migration.Done || b.Counts.Match != 3 {
		t.Errorf("%s, %+v, %q", b.State, b.Counts, b.Problem)
	}
}
