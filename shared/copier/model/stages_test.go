package model

import "slices"

// Where a worker is: what it does next.
const (
	begin    uint8 = iota + 1 // read where the mailbox stands
	again                     // send the message again, a turn later
	next                      // send the message that follows
	complete                  // complete the message

	read   // copier: read the group
	own    // make it this delivery's
	adopt  // the same in the wrong order, after looking its items up
	count  // ask whether the plan still counts
	look   // look items up on the target
	copies // import, then write what became of the group
	finish // mark the shard done
	pause  // note that the delivery ends early

	quiesce // planner: see whether an earlier plan's group is being imported
	take    // take it over
	list    // planner and verifier: list the target
	commit  // write the plan to the mailbox
	decide  // verifier: write what follows
)

// Why a copier begins no further import.
const (
	stopped uint8 = iota + 1
	lost
)

// row is the plan whose group this worker reads and writes.
func (w *worker) row() uint8 {
	switch {
	case w.queue == copyQueue && w.pc >= own && w.pc <= copies:
		return w.step
	case w.queue == planQueue && w.pc == take:
		return w.plan - 1
	}
	return maxPasses
}

// changesBox says whether the worker's step writes the mailbox's row.
func (w *worker) changesBox() bool {
	return slices.Contains([]uint8{finish, pause, commit, decide}, w.pc) || w.pc == begin && w.queue == planQueue
}

// at goes on with another step.
func at(pc uint8) func(*state, *worker) {
	return func(_ *state, w *worker) { w.pc = pc }
}

// end is at for the steps after which nothing of what the worker knows matters.
func end(pc uint8) func(*state, *worker) {
	return func(_ *state, w *worker) {
		if pc == complete && !w.locked {
			*w = worker{} // there is nothing that a zombie could complete
			return
		}
		*w = worker{pc: pc, queue: w.queue, step: w.step, turn: w.turn, locked: w.locked, wait: w.wait && pc == pause, plan: w.plan, epoch: w.epoch}
	}
}

// snooze sends the message again, for when the group is ripe.
func snooze(pc uint8) func(*state, *worker) {
	return func(s *state, w *worker) { end(pc)(s, w); w.wait = true }
}

// work is a worker's next step.
func (v *move) work() {
	w := v.me()
	switch w.pc {
	case again:
		v.sendAgain()
	case complete:
		v.completed()
	default:
		[]func(){v.plan, v.copy, v.verify}[w.queue]()
	}
}

// sendAgain is pipeline.Deliver for a snooze or an error.
func (v *move) sendAgain() {
	if v.doneFirst && v.me().locked {
		v.do("completes its message before it sends it again", func(_ *state, w *worker) { w.locked = false })
		return
	}
	v.do("sends its message again", func(s *state, w *worker) {
		if w.turn%maxTurns == maxTurns-1 {
			s.tooLong = true
			return
		}
		v.send(s, w.queue, w.step, w.turn+1, w.wait && s.young(w))
		end(complete)(s, w)
	})
}

// young says whether the group that a worker waits for is not ripe yet.
func (s *state) young(w *worker) bool {
	plan := w.step
	if w.queue == planQueue {
		plan = w.plan - 1
	}
	return s.groups[plan].phase == settling && !s.groups[plan].ripe
}

// completed is the host completing the message, or failing to.
func (v *move) completed() {
	v.do("completes its message", func(_ *state, w *worker) { *w = worker{} })
	v.fault("does not complete its message, which is delivered again", func(s *state, w *worker) { s.release(w); *w = worker{} })
}
