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

// copy is copier.Copy.
func (v *move) copy() {
	w := v.me()
	switch w.pc {
	case begin:
		v.beginCopy()
	case read:
		v.do("reads the group", func(s *state, w *worker) {
			g := s.groups[w.step]
			w.pc, w.holds, w.items = own, true, g.results
			w.settle = (g.phase == importing || g.phase == settling) && !v.noLook
			if g.phase == copied {
				end(finish)(s, w)
			}
		})
	case own:
		v.own()
	case adopt:
		v.store("makes the group its own", group{phase: importing, results: v.groups[w.step].results}, at(count), v.handOver(), end(pause))
	case count:
		if v.box.current(w.step) && v.box.state == copying || v.noCurrent {
			v.do("reads that its plan counts", v.owned)
		} else {
			v.handsOver("reads that its plan is over")
		}
	case look:
		v.do("looks its items up on the target", func(s *state, w *worker) { w.items |= v.todo(w) &^ s.missing(); w.pc = copies })
	case copies:
		v.imports()
	case finish:
		v.change("marks the shard done", func(b *box, w *worker) bool {
			ok := b.state == copying && b.current(w.step)
			b.state = verifying
			return ok
		}, end(next), end(begin), end(again))
	case pause:
		stale := end(begin)
		if v.dropPause {
			stale = end(complete)
		}
		v.change("stores that it pauses", func(b *box, w *worker) bool {
			return b.state == copying && b.current(w.step)
		}, func(_ *state, w *worker) { w.pc = again }, stale, end(again))
	case next:
		v.do("sends the verify message", func(s *state, w *worker) { v.send(s, verifyQueue, w.step, 0, false); end(complete)(s, w) })
	}
}

func (v *move) beginCopy() {
	w := v.me()
	current := v.box.current(w.step)
	switch {
	case current && v.box.state == copying:
		v.do("begins", at(read))
	case current && v.box.state == verifying && !v.noResend:
		v.do("finds its shard done", end(next))
	default:
		v.do("finds its step over", end(complete))
	}
}

// handOver is what a copier does when another worker has the group, or the plan is over.
func (v *move) handOver() func(*state, *worker) {
	if v.dropLost {
		return end(complete)
	}
	return end(again)
}

func (v *move) handsOver(what string) { v.do(what, v.handOver()) }

func (v *move) own() {
	w := v.me()
	g := v.groups[w.step]
	mine := group{phase: importing, results: g.results}
	theirs := group{phase: settling, results: g.results}
	switch {
	case !w.holds, g.phase == importing && w.repeat:
		v.store("makes the group its own", mine, at(count), v.handOver(), nil)
	case g.phase == settling && w.repeat:
		v.store("takes the group over to settle it", theirs, snooze(pause), v.handOver(), nil)
	case g.phase == importing && v.lookFirst && g.ripe:
		v.do("looks its items up on the target", func(s *state, w *worker) { w.items |= v.todo(w) &^ s.missing(); w.pc, w.settle = adopt, false })
	case g.phase == settling && !g.ripe && !v.noWait, g.phase == importing && v.lookFirst:
		v.do("finds the group unfinished and waits", snooze(pause))
	case g.phase == importing && !v.noWait:
		v.store("takes the group over to settle it", theirs, snooze(pause), v.handOver(), end(pause))
	default:
		v.store("makes the group its own", mine, at(count), v.handOver(), end(pause))
	}
}

// owned goes on with a group that is this worker's.
func (v *move) owned(_ *state, w *worker) {
	w.pc = copies
	if w.settle {
		w.pc = look
	}
	w.settle = false
}

// todo is the items of the plan that have no result.
func (v *move) todo(w *worker) set { return v.box.of[w.step].items &^ w.items }

// imports are the steps of copyItems: items are imported side by side; after a failure no further one is begun.
func (v *move) imports() {
	w := v.me()
	busy := false
	for i := range maxItems {
		if w.flights[i].item != 0 {
			busy = true
			v.flight(i)
		} else if v.todo(w).has(i) && w.cause == 0 {
			busy = true
			v.ask(i)
		}
	}
	switch {
	case busy:
	case w.cause == lost:
		v.handsOver("gives its work up")
	default:
		v.storeGroup()
	}
}

func (v *move) ask(i int) {
	if !v.me().holds && !v.noHolds {
		v.on("asks before an import and finds the group taken", i+1, false, func(_ *state, w *worker) { w.cause = lost })
		return
	}
	v.on("asks before an import and finds the group its own", i+1, false, func(_ *state, w *worker) {
		w.flights[i] = flight{item: uint8(i) + 1}
	})
}

// flight is what may become of an import.
func (v *move) flight(i int) {
	v.on("imports", i+1, false, func(s *state, w *worker) {
		s.target[i]++
		w.items |= 1 << i
		w.flights[i] = flight{}
	})
	v.on("is throttled at an import", i+1, true, func(_ *state, w *worker) {
		w.flights[i], w.cause = flight{}, max(w.cause, stopped)
	})
	v.on("gets no answer to an import", i+1, true, func(s *state, w *worker) {
		s.orphan(&w.flights[i])
		w.doubt, w.cause = !v.lostIsNot, max(w.cause, stopped)
	})
}

func (v *move) storeGroup() {
	w := v.me()
	g := group{phase: waiting, results: w.items}
	ok := end(pause)
	switch {
	case w.cause == 0:
		g.phase, ok = copied, end(finish)
	case w.doubt:
		g.phase, ok = settling, snooze(pause)
	}
	v.store("writes what became of the group", g, ok, v.handOver(), end(pause))
}

// plan is planner.Plan.
func (v *move) plan() {
	switch w := v.me(); w.pc {
	case begin:
		v.beginPlan()
	case quiesce:
		v.quiesce()
	case take:
		g := v.groups[w.plan-1]
		v.store("takes the last plan's group over", group{phase: settling, results: g.results}, snooze(again), end(again), end(again))
	case list:
		v.do("lists the target", func(s *state, w *worker) { w.items, w.pc = s.missing(), commit })
	case commit:
		v.change("commits its plan", v.committed, end(next), end(again), end(again))
	case next:
		v.do("sends the message that follows the plan", func(s *state, w *worker) {
			q := copyQueue
			if s.box.of[w.plan].items == 0 {
				q = verifyQueue
			}
			v.send(s, q, w.plan, 0, false)
			end(complete)(s, w)
		})
	}
}

func (v *move) beginPlan() {
	last, stale := v.box.plans-1, end(complete)
	planned := v.box.plans > 0 && v.box.of[last].pass == v.box.pass
	if planned && v.box.pass == v.me().step && !v.noResend &&
		(v.box.state == copying || v.box.state == verifying && v.box.of[last].items == 0) {
		stale = func(s *state, w *worker) { end(next)(s, w); w.plan = last }
	}
	v.change("begins to plan", func(b *box, w *worker) bool {
		ok := b.state <= verifying && (w.step == b.pass && !planned || w.step == b.pass+1)
		if w.step == b.pass+1 {
			b.pass, b.state = w.step, planning
		}
		w.plan = b.plans
		return ok
	}, at(quiesce), stale, end(again))
}

func (v *move) quiesce() {
	w := v.me()
	g := group{}
	blind := v.noQuiesce || v.otherWave && v.box.epoch > 0
	if w.plan > 0 && v.box.of[w.plan-1].pass != w.step && !blind {
		g = v.groups[w.plan-1]
	}
	switch {
	case g.phase == importing:
		v.do("finds the last plan's group being imported", func(_ *state, w *worker) { w.pc, w.holds = take, true })
	case g.phase == settling && !g.ripe:
		v.do("finds the last plan's group in doubt", snooze(again))
	default:
		v.do("finds the last plan quiet", at(list))
	}
}

func (v *move) committed(b *box, w *worker) bool {
	if b.state != planning || b.pass != w.step || b.plans != w.plan && !v.blindCommit {
		return false
	}
	if b.plans == maxPasses {
		panic("the model has too few plans")
	}
	b.of[b.plans].pass, b.of[b.plans].items = b.pass, w.items
	w.plan = b.plans
	b.plans++
	b.state = copying
	if w.items == 0 {
		b.state = verifying
	}
	return true
}

// verify is verifier.Verify.
func (v *move) verify() {
	w := v.me()
	switch w.pc {
	case begin:
		current := v.box.current(w.step)
		switch {
		case current && v.box.state == planning && !v.noResend:
			v.do("finds that another pass follows", func(s *state, w *worker) { end(next)(s, w); w.epoch = s.box.epoch })
		case current && v.box.state == verifying:
			v.do("begins", at(list))
		default:
			v.do("finds its step over", end(complete))
		}
	case list:
		v.do("lists both sides", func(s *state, w *worker) { w.items, w.pc = s.missing(), decide })
		if int(v.box.pass)+1 < v.passes {
			v.fault("lists both sides and finds an item changed", func(s *state, w *worker) { w.items, w.pc, w.more = s.missing(), decide, true })
		}
	case decide:
		v.decide()
	case next:
		v.do("sends the next pass", func(s *state, w *worker) {
			v.send(s, planQueue, s.box.of[w.step].pass+1, w.epoch*maxTurns, false)
			end(complete)(s, w)
		})
	}
}

func (v *move) decide() {
	stale := end(begin)
	if v.dropVerified {
		stale = end(complete)
	}
	to := func(state uint8) func(*box, *worker) bool {
		return func(b *box, w *worker) bool {
			ok := b.state == verifying && b.current(w.step)
			b.state, w.epoch = state, b.epoch
			return ok
		}
	}
	switch w := v.me(); {
	case w.items == 0 && !w.more:
		v.change("notes that all is on the target", to(done), end(complete), stale, end(again))
	case int(v.box.of[w.step].pass)+1 < v.passes:
		v.change("asks for another pass", to(planning), end(next), stale, end(again))
	default:
		v.change("gives up with items missing", to(failed), end(complete), stale, end(again))
	}
}
