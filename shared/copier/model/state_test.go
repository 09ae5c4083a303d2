package model

import "slices"

// Bounds of the model. What a search explores within them is set by its bounds value.
const (
	maxItems   = 2
	maxPlans   = 3 // plans and passes
	maxWorkers = 3
	maxTurns   = 8
	maxOrphans = 6
)

// The states of the mailbox, the phases of a group, the queues: the words of migration and ledger.
const (
	planning uint8 = iota
	copying
	verifying
	done
	paused
	failed
)

const (
	absent uint8 = iota
	importing
	waiting
	settling
	copied
)

const (
	planQueue uint8 = iota
	copyQueue
	verifyQueue
)

// items is a set of items.
type items uint8

func (s items) has(i int) bool { return s>>i&1 == 1 }
func (s items) with(i int) items {
	return s | 1<<i
}

// box is the mailbox's row.
type box struct {
	state uint8
	pass  uint8 // from 0
	epoch uint8
	plans uint8 // how many were made
	of    [maxPlans]struct {
		pass  uint8
		items items
	}
}

// current says whether a plan still counts, as copier and verifier ask before they begin.
func (b *box) current(plan uint8) bool {
	return b.plans == plan+1 && b.of[plan].pass == b.pass
}

// group is a row of the group table: the one group of a plan. ETags are not modelled: each worker knows whether the row
// is still as it read or wrote it.
type group struct {
	phase   uint8
	ripe    bool // Doubt has passed since Since
	results items
}

// flight is an import on its way: from the question whether the group is ours to the answer, or until it is carried out
// or never. older says for which groups the present Since is younger than the import: they cannot get ripe before it ends.
type flight struct {
	item  uint8 // plus one; 0 is none
	older uint8
	there bool // carried out; the answer is on its way
}

// letters is a set of messages of one step, by turn; those of the plan queue also by epoch.
type letters uint16

// post is the messages of one step: those that are there for delivery, which of these are not due yet, and those that
// were ever sent, for duplicate detection.
type post struct{ free, early, seen letters }

// worker is one delivery. A zombie is one whose message is not locked any more.
type worker struct {
	pc     uint8
	queue  uint8
	step   uint8 // the message's plan, or in the plan queue its pass
	turn   uint8
	locked bool
	holds  bool // the group is as it read or wrote it last
	repeat bool // a ledger write was carried out, its answer was lost, and the client sends it again
	settle bool // look the items up first
	wait   bool // send the message again for when the group is ripe
	doubt  bool // an import's answer was lost
	cause  uint8
	epoch  uint8
	plan   uint8 // planner: how many plans there were, later the plan to send
	items  items // copier: those with a result; planner and verifier: those missing on the target
	flight [maxItems]flight
}

// late is a ledger write whose writer saw an error although the request is still on its way.
type late struct {
	kind  uint8 // 0 none, 1 the group of plan, 2 the mailbox
	plan  uint8
	holds bool // the row is still as the request expects it
	group group
	box   box
}

// state is everything. It holds no pointers, so that equal states are the same state.
type state struct {
	box     box
	groups  [maxPlans]group
	target  [maxItems]uint8 // how often each item is there
	post    [3][maxPlans]post
	workers [maxWorkers]worker
	orphans [maxOrphans]flight // imports that nobody waits for any more
	late    late
	faults  uint8 // how many may still happen
}

// canonical makes states the same that differ only in which worker is which.
func (s *state) canonical() {
	slices.SortFunc(s.workers[:], compareWorkers)
	slices.SortFunc(s.orphans[:], compareFlights)
}

func compareFlights(a, b flight) int {
	return int(a.item)<<8 + int(a.older) - int(b.item)<<8 - int(b.older)
}
