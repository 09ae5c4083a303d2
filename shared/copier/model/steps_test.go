package model

// rules are the ways in which a search departs from the protocol. The zero rules are the protocol.
type rules struct {
	noHolds   bool // an import ends without asking whether the group is still ours
	noMatch   bool // a group is overwritten without If-Match
	noCurrent bool // a group is begun without asking whether its plan still counts
	noWait    bool // a group left unfinished is looked up and imported at once
	noQuiesce bool // the planner lists the target while an earlier plan's worker may still import
	lookFirst bool // items are looked up before the group is taken over, not after
	noLook    bool // items in doubt are not looked up
	lostIsNot bool // an import whose answer was lost counts as not carried out
	noResend  bool // a message about a step that is over is dropped; what follows is not sent again
	doneFirst bool // a message is completed before it is sent again
	outlive   bool // an import may be carried out when Doubt has passed since its worker asked

	// See TestSubtleDepartures.
	dropLost     bool
	dropPause    bool
	dropVerified bool
	blindCommit  bool
	otherWave    bool
}

// bounds are how far a search goes.
type bounds struct{ items, passes, workers, faults int }

// model is the protocol with its departures and bounds.
type model struct {
	rules
	bounds
}

// step is one transition, as a trace shows it.
type step struct {
	what  string
	who   worker // as it was before; pc 0 when it is nobody's step
	item  int    // from 1; 0 when it is about none
	fault bool
}

// first is the state in which a mailbox waits to be planned.
func (m *model) first() state {
	s := state{faults: uint8(m.faults)}
	s.post[planQueue][0] = post{queued: 1, sent: 1}
	for i := m.items; i < maxItems; i++ {
		s.target[i] = 1 // as if it did not take part
	}
	return s
}

// move makes the steps of one worker, or with k < 0 those of the world around.
type move struct {
	*model
	*state // before the step
	k      int
	emit   func(step, *state)
}

func (v *move) me() *worker { return &v.workers[v.k] }

// do is a step that may happen at any time.
func (v *move) do(what string, f func(s *state, w *worker)) { v.on(what, 0, false, f) }

// fault is a step that uses one of the faults up.
func (v *move) fault(what string, f func(s *state, w *worker)) { v.on(what, 0, true, f) }

func (v *move) on(what string, item int, fault bool, f func(s *state, w *worker)) {
	if fault && v.faults == 0 {
		return
	}
	s, l := *v.state, step{what: what, item: item, fault: fault}
	if fault {
		s.faults--
	}
	if v.k < 0 {
		f(&s, nil)
	} else {
		f(&s, &s.workers[v.k])
		if l.who = *v.me(); l.who.pc == 0 {
			l.who = s.workers[v.k] // it is delivered
		}
	}
	s.canonical()
	v.emit(l, &s)
}

// each emits all steps from a state: first those by which a run goes on without further faults.
func (m *model) each(s *state, emit func(step, *state)) {
	world := &move{m, s, -1, emit}
	world.requests()
	world.time()
	for k := range m.workers {
		v := &move{m, s, k, emit}
		if v.me().pc != 0 {
			v.work()
		} else if k == 0 || s.workers[k-1].pc != 0 {
			v.receive()
		}
	}
	world.person()
	for k := range m.workers {
		v := &move{m, s, k, emit}
		if v.me().pc != 0 {
			v.breakDown()
		}
	}
}

// requests are imports and ledger writes on their way whose senders do not wait for them.
func (v *move) requests() {
	for k, f := range v.orphans {
		if f.item == 0 || k > 0 && f == v.orphans[k-1] {
			continue
		}
		v.on("an import left to itself is carried out", int(f.item), false, func(s *state, _ *worker) {
			s.target[f.item-1]++
			s.orphans[k] = flight{}
		})
		v.on("an import left to itself is lost", int(f.item), false, func(s *state, _ *worker) { s.orphans[k] = flight{} })
	}
	if v.late.kind == 0 {
		return
	}
	v.do("a late ledger write is carried out", func(s *state, _ *worker) {
		l := s.late
		s.late = late{}
		if l.kind == lateBox {
			s.putBox(l.box, nil)
		} else {
			s.putGroup(l.plan, l.group, nil)
		}
	})
	v.do("a late ledger write is lost", func(s *state, _ *worker) { s.late = late{} })
}

// time lets groups become ripe.
func (v *move) time() {
	for p, g := range v.groups {
		if g.ripe || g.phase != settling && !(v.lookFirst && g.phase == importing) || !v.outlive && v.delays(p) {
			continue
		}
		v.do("Doubt has passed since the group was written", func(s *state, _ *worker) {
			s.groups[p].ripe = true
			s.due(uint8(p))
		})
	}
}

// delays says whether an import that began before the group was written may still be carried out.
func (s *state) delays(plan int) bool {
	for _, f := range s.orphans {
		if f.delay.has(plan) {
			return true
		}
	}
	for _, w := range s.workers {
		for _, f := range w.flights {
			if f.delay.has(plan) {
				return true
			}
		}
	}
	return false
}

// person pauses and resumes, once; retry is the same. What is started again after a pause is the next pass.
func (v *move) person() {
	if v.box.state == paused {
		v.do("an operator resumes", func(s *state, _ *worker) {
			b := s.box
			b.state, b.epoch = planning, b.epoch+1
			s.putBox(b, nil)
			v.send(s, planQueue, b.pass+1, b.epoch*maxTurns, false)
		})
	}
	if v.box.state <= verifying && v.box.epoch == 0 && int(v.box.pass)+1 < v.passes {
		what := "an operator pauses"
		if v.otherWave {
			what = "an operator cancels; another wave takes the mailbox in"
		}
		v.fault(what, func(s *state, _ *worker) {
			b := s.box
			b.state = paused
			s.putBox(b, nil)
		})
	}
}

// receive takes any message that is due. The copy queue's session lets one be at work at a time.
func (v *move) receive() {
	for q := range v.post {
		if uint8(q) == copyQueue && v.sessionLocked() {
			continue
		}
		for n, p := range v.post[q] {
			for t := range uint8(2 * maxTurns) {
				if (p.queued&^p.early)>>t&1 == 0 {
					continue
				}
				v.do("is delivered", func(s *state, w *worker) {
					s.post[q][n].queued &^= 1 << t
					*w = worker{pc: begin, queue: uint8(q), step: uint8(n), turn: t, locked: true}
				})
			}
		}
	}
}

func (s *state) sessionLocked() bool {
	for _, w := range s.workers {
		if w.pc != 0 && w.locked && w.queue == copyQueue {
			return true
		}
	}
	return false
}

// send puts a message into its queue, unless one of its ID was sent before.
func (v *move) send(s *state, queue, step, turn uint8, early bool) {
	p := &s.post[queue][step]
	if p.sent>>turn&1 == 0 {
		p.sent |= 1 << turn
		p.queued |= 1 << turn
		if early {
			p.early |= 1 << turn
		}
	}
}

// release ends a delivery without completing its message.
func (s *state) release(w *worker) {
	if w.locked {
		s.post[w.queue][w.step].queued |= 1 << w.turn
		s.post[w.queue][w.step].early &^= 1 << w.turn
		w.locked = false
	}
}

// breakDown is what may happen to a worker at any moment. A message that is received or done can be delivered again anyway.
func (v *move) breakDown() {
	w := v.me()
	if w.pc != begin && w.pc != complete {
		v.fault("is killed", func(s *state, w *worker) {
			s.release(w)
			for i := range w.flights {
				s.orphan(&w.flights[i])
			}
			*w = worker{}
		})
	}
	if w.pc != complete && w.locked {
		v.fault("loses its lock and goes on", func(s *state, w *worker) { s.release(w) })
	}
}

// store writes the group's row if it is as this worker knows it: ledger.BeginGroup and StoreGroup. It is refused when
// another has changed the row, and fails when the writer sees any other error.
func (v *move) store(what string, g group, ok, refused, fails func(*state, *worker)) {
	w, plan := v.me(), v.me().row()
	switch {
	case w.repeat && w.same:
		v.do(what+": the repeated request meets its own row", func(s *state, w *worker) { w.repeat, w.same = false, false; ok(s, w) })
		return
	case w.repeat:
		v.do(what+": the repeated request meets another's row", func(s *state, w *worker) { w.repeat = false; refused(s, w) })
		return
	case !w.holds && !v.noMatch:
		v.do(what+": refused, another has it", refused)
		return
	}
	v.do(what, func(s *state, w *worker) { s.putGroup(plan, g, w); w.same = false; ok(s, w) })
	v.fault(what+", the answer is lost, the client repeats it", func(s *state, w *worker) { s.putGroup(plan, g, w); w.repeat = true })
	if v.late.kind == 0 {
		v.fault(what+" fails, the request is still on its way", func(s *state, w *worker) {
			s.late = late{kind: lateGroup, plan: plan, group: g}
			fails(s, w)
		})
	}
}

// change writes the mailbox's row if f agrees: ledger.ChangeMailbox.
func (v *move) change(what string, f func(b *box, w *worker) bool, ok, stale, fails func(*state, *worker)) {
	w, b := *v.me(), v.box
	if w.repeat && w.same {
		v.do(what+": the repeated request meets its own row", func(s *state, w *worker) { w.repeat, w.same = false, false; ok(s, w) })
		return
	}
	if !f(&b, &w) {
		v.do(what+": the mailbox has moved on", func(s *state, w *worker) { w.repeat = false; stale(s, w) })
		return
	}
	v.do(what, func(s *state, w *worker) { f(&s.box, w); s.putBox(b, w); w.repeat, w.same = false, false; ok(s, w) })
	v.fault(what+", the answer is lost, the client repeats it", func(s *state, w *worker) { f(&s.box, w); s.putBox(b, w); w.repeat = true })
	if v.late.kind == 0 {
		v.fault(what+" fails, the request is still on its way", func(s *state, w *worker) {
			s.late = late{kind: lateBox, box: b}
			fails(s, w)
		})
	}
}
