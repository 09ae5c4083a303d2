package model

import (
	"fmt"
	"hash/maphash"
	"strings"
)

// search visits every state that can be reached, the nearest first.
type search struct {
	*model
	seeds [2]maphash.Seed
	at    map[[2]uint64]int32
	from  []int32 // the state before
	to    []int32 // a state that follows without a fault, or -1
	good  []bool  // the end as it should be
}

// explore returns how many states there are, and the shortest trace to one that breaks a promise, "" when none does.
func (m *model) explore() (int, string) {
	x := &search{model: m, seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, at: map[[2]uint64]int32{}}
	first := m.first()
	level, ids := []state{first}, []int32{x.add(&first, -1)}
	for len(level) > 0 {
		var further []state
		var furtherIDs []int32
		for n := range level {
			s, id := &level[n], ids[n]
			if bad := x.broken(s); bad != "" {
				return len(x.from), x.trace(id, bad)
			}
			x.good[id] = s.ended()
			m.each(s, func(l step, t *state) {
				known := len(x.from)
				to := x.add(t, id)
				if x.to[id] < 0 && !l.fault {
					x.to[id] = to
				}
				if int(to) == known {
					further, furtherIDs = append(further, *t), append(furtherIDs, to)
				}
			})
			if x.to[id] < 0 && !x.good[id] {
				return len(x.from), x.trace(id, "nothing more happens, and the mailbox is not done")
			}
		}
		level, ids = further, furtherIDs
	}
	if id := x.adrift(); id >= 0 {
		return len(x.from), x.trace(id, "from here the end is not reached")
	}
	return len(x.from), ""
}

// key is a hash of 128 bits: that two of some million states share one is out of the question.
func (x *search) key(s *state) [2]uint64 {
	return [2]uint64{maphash.Comparable(x.seeds[0], *s), maphash.Comparable(x.seeds[1], *s)}
}

func (x *search) add(s *state, from int32) int32 {
	key := x.key(s)
	id, known := x.at[key]
	if !known {
		id = int32(len(x.from))
		x.at[key] = id
		x.from, x.to, x.good = append(x.from, from), append(x.to, -1), append(x.good, false)
	}
	return id
}

// broken says which promise a state breaks.
func (x *search) broken(s *state) string {
	if s.tooLong {
		return "the message goes round and round (or the model has too few turns)"
	}
	for i, n := range s.target {
		if n > 1 {
			return fmt.Sprintf("item %d is on the target twice", i+1)
		}
		for p, g := range s.groups {
			if g.results.has(i) && n == 0 {
				return fmt.Sprintf("the ledger says that item %d of plan %d is copied, and it is not on the target", i+1, p)
			}
		}
		if s.box.state == done && n == 0 {
			return fmt.Sprintf("the mailbox is done without item %d", i+1)
		}
	}
	return ""
}

// ended says whether all is over as it should be.
func (s *state) ended() bool {
	if s.box.state != done || s.late.kind != 0 || s.missing() != 0 {
		return false
	}
	for q := range s.post {
		for _, p := range s.post[q] {
			if p.queued != 0 {
				return false
			}
		}
	}
	return s.workers == [maxWorkers]worker{} && s.orphans == [maxOrphans]flight{}
}

// adrift is the first state from which a run without further faults does not reach the end, -1 when there is none. It
// follows one run from each, in which the first step that can happen does.
func (x *search) adrift() int32 {
	ends := make([]int8, len(x.to)) // 1: it does; 2: being followed
	for id := range x.to {
		var path []int32
		at := int32(id)
		for ends[at] == 0 && !x.good[at] {
			ends[at] = 2
			path = append(path, at)
			at = x.to[at]
		}
		if ends[at] == 2 {
			return int32(id)
		}
		for _, p := range path {
			ends[p] = 1
		}
	}
	return -1
}

// trace replays the way to a state.
func (x *search) trace(id int32, bad string) string {
	var path []int32
	for ; id >= 0; id = x.from[id] {
		path = append([]int32{id}, path...)
	}
	var b strings.Builder
	s := x.first()
	for n, id := range path[1:] {
		var taken step
		var after state
		x.each(&s, func(l step, t *state) {
			if to, known := x.at[x.key(t)]; known && to == id && taken.what == "" {
				taken, after = l, *t
			}
		})
		fmt.Fprintf(&b, "%3d  %s\n", n+1, taken.text())
		s = after
	}
	return b.String() + "     " + bad
}

func (l step) text() string {
	var b strings.Builder
	if l.fault {
		b.WriteString("! ")
	}
	if l.who.pc != 0 {
		b.WriteString(l.who.name() + " ")
	}
	b.WriteString(l.what)
	if l.item > 0 {
		fmt.Fprintf(&b, ", item %d", l.item)
	}
	return b.String()
}

func (w *worker) name() string {
	name := fmt.Sprintf("%s %d, turn %d", []string{"plan of pass", "copy of plan", "verify of plan"}[w.queue], w.step, w.turn%maxTurns)
	if !w.locked {
		name += " (zombie)"
	}
	return name
}
