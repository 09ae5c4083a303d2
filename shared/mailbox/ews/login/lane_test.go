package login

import "testing"

// A lane has one user at a time, and the lane that was used last is used first.
func TestALaneIsTakenByOne(t *testing.T) {
	t.Parallel()
	l := &Lanes{Scheme: NTLM}
	a, b := l.take(), l.take()
	if a == b {
		t.Fatal("two requests have the same new lane")
	}
	l.give(a)
	l.give(b)
	if c, d, e := l.take(), l.take(), l.take(); c != b || d != a || e == a || e == b {
		t.Fatal("a lane was given to two requests, or in the wrong order")
	}
}
