package infra_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mailferry/mailferry/infra/kql"
	"github.com/mailferry/mailferry/shared/operator"
	"github.com/mailferry/mailferry/shared/pipeline"
	"github.com/mailferry/mailferry/shared/pipeline/pipelinetest"
)

// tell begins a story whose lines are recorded.
func tell(t *testing.T) (*pipelinetest.Story, *recording) {
	t.Helper()
	r := &recording{}
	s := pipelinetest.Tell(t, func(n *pipeline.Needs) { n.Log = r.log(n.Clock) })
	fill(t, s.Source, 3)
	return s, r
}

// ask runs a query of the workbook or an alert over what was recorded so far.
func ask(t *testing.T, name string, r *recording, now time.Time) kql.Table {
	t.Helper()
	s, err := open(repository(t))
	if err != nil {
		t.Fatal(err)
	}
	queries, err := s.queries()
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range queries {
		if q.name == name {
			out, err := kql.Run(strings.ReplaceAll(q.text, "{Wave}", ""), r.tables(), now)
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
	}
	t.Fatalf("there is no query %s", name)
	return kql.Table{}
}

// A mailbox that failed and was mended counts once, as what it is now.
func TestAMailboxIsInOneState(t *testing.T) {
	t.Parallel()
	s, r := tell(t)
	target := s.Targets[pipelinetest.Ann.Target]
	delete(s.Targets, pipelinetest.Ann.Target)
	s.Begin()
	check := func(want string) {
		t.Helper()
		if err := s.Run(t.Context(), 100); err != nil {
			t.Fatal(err)
		}
		waves := ask(t, "tile waves-table", r, s.Clock.Now())
		got := ""
		for _, c := range []string{"mailboxes", "copying", "synced", "done", "failed", "paused", "cancelled"} {
			got += fmt.Sprintf("%s %v ", c, waves.Rows[0][c])
		}
		if want := "mailboxes 1 " + want + " "; len(waves.Rows) != 1 || got != want {
			t.Errorf("waves: %s, want %s", got, want)
		}
	}
	check("copying 0 synced 0 done 0 failed 1 paused 0 cancelled 0")
	s.Targets[pipelinetest.Ann.Target] = target
	act(t, s, operator.Retry)
	check("copying 0 synced 0 done 1 failed 0 paused 0 cancelled 0")
}

func act(t *testing.T, s *pipelinetest.Story, a operator.Action) {
	t.Helper()
	if changed, err := s.Operator.Act(t.Context(), a, s.Wave, ""); err != nil || len(changed) != 1 {
		t.Fatalf("%s: %d mailboxes, %v", a, len(changed), err)
	}
}

// What a person has paused does not raise an alarm, and shows as paused.
func TestAPausedMailboxIsNotSilent(t *testing.T) {
	t.Parallel()
	s, r := tell(t)
	s.Begin()
	letter, _ := s.Bus.Take(s.Clock.Now())
	if err := s.Pipeline.Deliver(t.Context(), letter.Queue, letter.Message.Encode()); err != nil {
		t.Fatal(err)
	}
	later := s.Clock.Now().Add(2 * time.Hour)
	for _, name := range []string{"alert-ferrytrial-silent", "tile age"} {
		if len(ask(t, name, r, later).Rows) != 1 {
			t.Errorf("%s does not see a mailbox that stands still", name)
		}
	}
	act(t, s, operator.Pause)
	for _, name := range []string{"alert-ferrytrial-silent", "tile age"} {
		if out := ask(t, name, r, later); len(out.Rows) != 0 {
			t.Errorf("%s speaks of a paused mailbox:\n%s", name, table(out))
		}
	}
	if out := ask(t, "tile states", r, later); len(out.Rows) != 1 || out.Rows[0]["state"] != "paused" {
		t.Errorf("states:\n%s", table(out))
	}
}

// Less than INFO would leave the workbook empty and the alerts blind.
func TestLinesCannotBeTurnedOff(t *testing.T) {
	t.Parallel()
	s, err := open(repository(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, level := range []string{"WARN", "ERROR"} {
		if err := s.deploy("quiet", "infra/trial.bicepparam", map[string]any{"logLevel": level}); err == nil {
			t.Errorf("logLevel %s can be deployed", level)
		}
	}
}
