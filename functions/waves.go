package main

import (
	"net/http"
	"slices"

	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/pipeline"
)

// showWaves answers GET /api/waves.
type showWaves struct{ *pipeline.Pipeline }

// waveList is all waves, the newest first.
type waveList struct {
	Waves []migration.Wave `json:"waves"`
	Code  string           `json:"-"` // the caller's function key, for links
}

func (s showWaves) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	list := waveList{Waves: []migration.Wave{}, Code: r.URL.Query().Get("code")}
	for wave, err := range s.Ledger.AllWaves(r.Context()) {
		if err != nil {
			showWave(s).fail(w, err, "")
			return
		}
		list.Waves = append(list.Waves, wave)
	}
	slices.SortStableFunc(list.Waves, func(a, b migration.Wave) int { return b.Submitted.Compare(a.Submitted) })
	if wantsPage(r) {
		render(w, "waves", list)
		return
	}
	answer(w, http.StatusOK, list)
}
