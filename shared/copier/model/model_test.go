package model

import "testing"

func TestGaps(t *testing.T) {
	for _, test := range []struct {
		name string
		rules
		bounds
	}{
		{"dropLost", rules{dropLost: true}, bounds{items: 1, passes: 2, workers: 3, faults: 2}},
		{"dropPause", rules{dropPause: true}, bounds{items: 1, passes: 2, workers: 3, faults: 2}},
		{"dropVerified", rules{dropVerified: true}, bounds{items: 1, passes: 2, workers: 3, faults: 3}},
		{"blindCommit", rules{blindCommit: true}, bounds{items: 1, passes: 3, workers: 3, faults: 2}},
		{"noHolds", rules{noHolds: true}, bounds{items: 1, passes: 2, workers: 3, faults: 2}},
		{"noMatch", rules{noMatch: true}, bounds{items: 1, passes: 2, workers: 3, faults: 2}},
		{"noCurrent", rules{noCurrent: true}, bounds{items: 1, passes: 2, workers: 3, faults: 2}},
		{"noWait", rules{noWait: true}, bounds{items: 1, passes: 2, workers: 3, faults: 2}},
		{"noQuiesce", rules{noQuiesce: true}, bounds{items: 1, passes: 2, workers: 3, faults: 2}},
		{"lookFirst", rules{lookFirst: true}, bounds{items: 1, passes: 2, workers: 3, faults: 2}},
		{"lostIsNot", rules{lostIsNot: true}, bounds{items: 1, passes: 2, workers: 3, faults: 2}},
		{"noLook", rules{noLook: true}, bounds{items: 1, passes: 2, workers: 3, faults: 2}},
		{"noResend", rules{noResend: true}, bounds{items: 1, passes: 2, workers: 3, faults: 2}},
		{"outlive", rules{outlive: true}, bounds{items: 1, passes: 2, workers: 3, faults: 2}},
	} {
		t.Run(test.name, func(t *testing.T) {
			n, trace := (&model{bounds: test.bounds, rules: test.rules}).explore()
			t.Logf("%d states\n%s", n, trace)
		})
	}
}
func TestProtocol(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		bounds
	}{
		{"a", bounds{items: 1, passes: 2, workers: 3, faults: 1}},
		{"b", bounds{items: 1, passes: 2, workers: 3, faults: 2}},
		{"c", bounds{items: 2, passes: 2, workers: 3, faults: 2}},
		{"d", bounds{items: 1, passes: 1, workers: 2, faults: 3}},
		{"e", bounds{items: 2, passes: 1, workers: 2, faults: 3}},
		{"f", bounds{items: 1, passes: 2, workers: 2, faults: 3}},
		{"g", bounds{items: 1, passes: 1, workers: 3, faults: 3}},
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
