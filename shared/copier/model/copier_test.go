package model

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
		v.store("makes the group its own", mine, at(count), v.handOver(), end(pause))
	case g.phase == settling && w.repeat:
		v.store("takes the group over to settle it", theirs, snooze(pause), v.handOver(), end(pause))
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
