package model

import "slices"

// How much a state has room for. How much of it a search uses is set by its bounds.
const (
	maxItems   = 2
	maxPasses  = 3 // and as many plans
	maxWorkers = 3
	maxTurns   = 16
	maxOrphans = 6
)

// The states of the mailbox.
const (
	planning uint8 = iota
	copying
	verifying
	done
	paused
	failed
)

// The phases of a group.
const (
	absent uint8 = iota
	importing
	waiting
	settling
	copied
)

// The queues.
const (
	planQueue uint8 = iota
	copyQueue
	verifyQueue
)

// set is a set of items, or of plans.
type set uint8

func (s set) has(i int) bool { return s>>i&1 == 1 }

// box is the mailbox's row. Passes and plans count from 0.
type box struct {
	state, pass, epoch, plans uint8
	of                        [maxPasses]struct { // the plans made
		pass  uint8
		items set
	}
}

// current says whether a plan is the one under way.
func (b *box) current(plan uint8) bool { return b.plans == plan+1 && b.of[plan].pass == b.pass }

// group is the row of a plan's one group. There are no ETags: who reads or writes a row knows from then on whether it
// is still the same.
type group struct {
	phase   uint8
	ripe    bool // Doubt has passed since Since
	results set
}

// flight is one import, from the question whether the group is ours until it is carried out or lost for ever. It is in
// the way of every group whose Since is younger: Doubt is longer than any import takes.
type flight struct {
	item  uint8 // from 1; 0 is no import
	delay set   // plans whose group cannot become ripe before this import has ended
}

// post is the messages of one step, each a bit by its turn and in the plan queue its epoch: which are in the queue,
// which of these are not due yet, and which were sent at any time (for duplicate detection).
type post struct{ queued, early, sent uint32 }

// worker is one delivery; pc 0 is none. One that is at work without its message's lock is a zombie.
type worker struct {
	pc, queue, step, turn uint8 // step: the message's plan, or its pass in the plan queue
	locked                bool
	holds                 bool  // the group is as this worker read or wrote it last
	repeat, same          bool  // a write was carried out and is sent again as its answer was lost; the row is as it left it
	settle                bool  // copier: look the items up first
	doubt                 bool  // copier: an import's answer was lost
	cause                 uint8 // copier: why no further item is begun
	wait                  bool  // come back when the group is ripe
	plan, epoch           uint8 // planner: how many plans it has seen, then the plan to send; verifier: the mailbox's epoch
	more                  bool  // verifier: another pass is needed
	items                 set   // copier: those that have a result; planner and verifier: those missing on the target
	flights               [maxItems]flight
}

// late is a write to the ledger whose writer saw an error while the request was still on its way.
type late struct {
	kind  uint8 // 0: none
	plan  uint8
	group group
	box   box
}

const (
	lateGroup uint8 = iota + 1
	lateBox
)

// state is everything there is. It has no pointers: equal states are one state.
type state struct {
	box     box
	groups  [maxPasses]group
	target  [maxItems]uint8 // how often each item is there
	post    [3][maxPasses]post
	workers [maxWorkers]worker
	orphans [maxOrphans]flight // imports whose worker does not wait for them any more
	late    late
	faults  uint8 // how many more may happen
	tooLong bool  // a message has used up its turns
}

// missing lists the target: the items that are not there.
func (s *state) missing() set {
	var m set
	for i, n := range s.target {
		if n == 0 {
			m |= 1 << i
		}
	}
	return m
}

// putGroup writes a group's row for by, nil for nobody who would know.
func (s *state) putGroup(plan uint8, g group, by *worker) {
	s.groups[plan] = g
	s.due(plan) // if not before, when the group would have become ripe
	if g.phase == settling {
		s.since(plan)
	}
	for k := range s.workers {
		if w := &s.workers[k]; w != by && w.row() == plan {
			w.holds, w.same = false, w.same && w.changesBox()
		}
	}
	if s.late.kind == lateGroup && s.late.plan == plan {
		s.late = late{} // it will be refused
	}
	if by != nil {
		by.holds, by.same = true, true
	}
}

// due lets the messages that wait for a group come.
func (s *state) due(plan uint8) {
	s.post[copyQueue][plan].early = 0
	for p := range s.post[planQueue] {
		s.post[planQueue][p].early = 0
	}
}

// since makes the imports on their way delay a group whose Since is now.
func (s *state) since(plan uint8) {
	for k := range s.workers {
		for i := range s.workers[k].flights {
			s.workers[k].flights[i].delays(plan)
		}
	}
	for k := range s.orphans {
		s.orphans[k].delays(plan)
	}
}

func (f *flight) delays(plan uint8) {
	if f.item != 0 {
		f.delay |= 1 << plan
	}
}

// putBox writes the mailbox's row.
func (s *state) putBox(b box, by *worker) {
	s.box = b
	for k := range s.workers {
		if w := &s.workers[k]; w != by && w.changesBox() {
			w.same = false
		}
	}
	if s.late.kind == lateBox {
		s.late = late{} // it will be refused
	}
	if by != nil {
		by.same = true
	}
}

// orphan leaves an import to itself.
func (s *state) orphan(f *flight) {
	if f.item != 0 {
		at := slices.IndexFunc(s.orphans[:], func(o flight) bool { return o.item == 0 })
		s.orphans[at] = *f
	}
	*f = flight{}
}

// canonical makes states equal that differ only in which worker or import is which.
func (s *state) canonical() {
	slices.SortFunc(s.workers[:], func(a, b worker) int { return b.rank() - a.rank() })
	slices.SortFunc(s.orphans[:], func(a, b flight) int { return a.rank() - b.rank() })
}

func (f *flight) rank() int { return int(f.item)<<8 | int(f.delay) }

func (w *worker) rank() int {
	r := int(w.pc)<<12 | int(w.queue)<<9 | int(w.step)<<6 | int(w.turn)
	for _, b := range []bool{w.locked, w.holds, w.same, w.doubt} {
		r <<= 1
		if b {
			r |= 1
		}
	}
	return r<<16 | w.flights[0].rank()<<4 ^ w.flights[1].rank()
}
