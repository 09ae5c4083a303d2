package model

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
