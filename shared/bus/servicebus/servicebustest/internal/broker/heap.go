package broker

import (
	"container/heap"
	"sort"
	"time"
)

// alarm is one thing that becomes due. The zero value is not set.
type alarm struct {
	at    time.Time
	order int64 // which of two that are due at once comes first
	index int   // in the heap plus one, 0 when not set
	ring  func(now time.Time)
}

type alarmHeap []*alarm

func (h alarmHeap) Len() int { return len(h) }
func (h alarmHeap) Less(i, j int) bool {
	if h[i].at.Equal(h[j].at) {
		return h[i].order < h[j].order
	}
	return h[i].at.Before(h[j].at)
}
func (h alarmHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i]; h[i].index, h[j].index = i+1, j+1 }
func (h *alarmHeap) Push(x any)   { a := x.(*alarm); a.index = len(*h) + 1; *h = append(*h, a) }
func (h *alarmHeap) Pop() any {
	old := *h
	a := old[len(old)-1]
	old[len(old)-1], *h, a.index = nil, old[:len(old)-1], 0
	return a
}

// set moves the alarm to a time; the zero time unsets it.
func (h *alarmHeap) set(a *alarm, at time.Time) {
	switch {
	case at.IsZero() && a.index > 0:
		heap.Remove(h, a.index-1)
	case at.IsZero():
	case a.index > 0:
		a.at = at
		heap.Fix(h, a.index-1)
	default:
		a.at = at
		heap.Push(h, a)
	}
}

// readyHeap holds the messages that may be delivered, the lowest sequence number first.
type readyHeap []*message

func (h readyHeap) Len() int           { return len(h) }
func (h readyHeap) Less(i, j int) bool { return h[i].seq < h[j].seq }
func (h readyHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i]; h[i].index, h[j].index = i+1, j+1 }
func (h *readyHeap) Push(x any)        { m := x.(*message); m.index = len(*h) + 1; *h = append(*h, m) }
func (h *readyHeap) Pop() any {
	old := *h
	m := old[len(old)-1]
	old[len(old)-1], *h, m.index = nil, old[:len(old)-1], 0
	return m
}

// sequence is all messages of an entity by sequence number. A removed one leaves a hole until enough have gone.
type sequence struct {
	slots []slot
	holes int
}

type slot struct {
	seq int64
	m   *message
}

func (s *sequence) at(seq int64) int {
	return sort.Search(len(s.slots), func(i int) bool { return s.slots[i].seq >= seq })
}

func (s *sequence) add(m *message) {
	i := len(s.slots)
	if i > 0 && s.slots[i-1].seq >= m.seq { // a dead letter keeps its number and may come out of order
		i = s.at(m.seq)
	}
	s.slots = append(s.slots, slot{})
	copy(s.slots[i+1:], s.slots[i:])
	s.slots[i] = slot{m.seq, m}
}

func (s *sequence) find(seq int64) *message {
	if i := s.at(seq); i < len(s.slots) && s.slots[i].seq == seq {
		return s.slots[i].m
	}
	return nil
}

func (s *sequence) remove(seq int64) {
	i := s.at(seq)
	if i == len(s.slots) || s.slots[i].seq != seq || s.slots[i].m == nil {
		return
	}
	s.slots[i].m = nil
	if s.holes++; s.holes > 64 && s.holes > len(s.slots)/2 {
		s.compact()
	}
}

func (s *sequence) compact() {
	kept := make([]slot, 0, len(s.slots)-s.holes)
	for _, x := range s.slots {
		if x.m != nil {
			kept = append(kept, x)
		}
	}
	s.slots, s.holes = kept, 0
}

// from calls each with the messages from seq on until it returns false.
func (s *sequence) from(seq int64, each func(*message) bool) {
	for _, x := range s.slots[s.at(seq):] {
		if x.m != nil && !each(x.m) {
			return
		}
	}
}
