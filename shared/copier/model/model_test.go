package model

import (
	"strings"
	"testing"
)

// TestProtocol searches every run within some bounds. Faults may be of any kind, all of the same one too.
func TestProtocol(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name        string
		full, short bounds
	}{
		{"two faults, replanned", bounds{2, 2, 3, 2}, bounds{2, 2, 3, 1}},
		{"three faults in one pass", bounds{2, 1, 2, 3}, bounds{1, 1, 2, 3}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := test.full
			if testing.Short() {
				b = test.short
			}
			states, trace := (&model{bounds: b}).explore()
			t.Logf("%d states", states)
			if trace != "" {
				t.Errorf("the protocol breaks a promise:\n%s", trace)
			}
		})
	}
}

const (
	twice = "is on the target twice"
	stuck = "nothing more happens, and the mailbox is not done"
)

// TestDepartures takes one rule of the protocol away at a time: each is needed, and the search sees what happens
// without it.
func TestDepartures(t *testing.T) {
	t.Parallel()
	two := bounds{items: 1, passes: 2, workers: 3, faults: 2}
	for _, test := range []struct {
		name string
		rules
		want string
	}{
		{"a worker does not ask whether the group is still its own", rules{noHolds: true}, twice},
		{"a group is overwritten whoever has it", rules{noMatch: true}, twice},
		{"a worker does not ask whether its plan still counts", rules{noCurrent: true}, twice},
		{"nobody waits until imports under way have ended", rules{noWait: true}, twice},
		{"the planner does not take over the last plan's group", rules{noQuiesce: true}, twice},
		{"items are looked up before the group is taken over", rules{lookFirst: true}, twice},
		{"items in doubt are not looked up", rules{noLook: true}, twice},
		{"a lost answer counts as not carried out", rules{lostIsNot: true}, twice},
		{"a message about what is done is dropped", rules{noResend: true}, stuck},
		{"a message is completed before it is sent again", rules{doneFirst: true}, stuck},
		{"an import is carried out after its Doubt has passed", rules{outlive: true}, twice},
	} {
		t.Run(test.name, func(t *testing.T) { expect(t, &model{test.rules, two}, test.want) })
	}
}

// TestSubtleDepartures are departures that take more steps to go wrong. The stages once had each of them.
func TestSubtleDepartures(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		rules
		bounds
		want string
	}{
		{"copier.Copy completes the message on errLost", rules{dropLost: true}, bounds{1, 1, 2, 2}, stuck},
		{"copier.pause completes the message on errLost", rules{dropPause: true}, bounds{1, 1, 2, 3}, stuck},
		{"verifier.decide completes the message on errStale", rules{dropVerified: true}, bounds{1, 2, 2, 3}, stuck},
		{"planner.commit does not see a plan of its own pass", rules{blindCommit: true}, bounds{1, 2, 3, 2}, twice},
		{"planner.quiesce does not see the plans of another wave", rules{otherWave: true}, bounds{1, 2, 2, 1}, twice},
	} {
		t.Run(test.name, func(t *testing.T) {
			if testing.Short() && test.faults > 2 {
				t.Skip("takes some seconds")
			}
			expect(t, &model{test.rules, test.bounds}, test.want)
		})
	}
}

// expect searches for the shortest trace to a broken promise.
func expect(t *testing.T, m *model, want string) {
	t.Helper()
	states, trace := m.explore()
	if !strings.HasSuffix(trace, want) {
		t.Fatalf("after %d states: got %q, want a trace that ends with %q", states, trace, want)
	}
	t.Logf("after %d states:\n%s", states, trace)
}
