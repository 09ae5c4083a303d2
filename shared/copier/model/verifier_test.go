package model

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
