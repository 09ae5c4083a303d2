package model

import "testing"

func TestProtocol(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		bounds
	}{
		{"a", bounds{items: 1, passes: 2, workers: 3, faults: 1}},
		{"b", bounds{items: 1, passes: 2, workers: 3, faults: 2}},
		{"c", bounds{items: 2, passes: 2, workers: 3, faults: 2}},
	} {
		t.Run(test.name, func(t *testing.T) {
			n, trace := (&model{bounds: test.bounds}).explore()
			t.Logf("%d states", n)
			if trace != "" {
				t.Errorf("\n%s", trace)
			}
		})
	}
}
