package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/mailferry/mailferry/scripts/fill"
	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/ews/ewstest"
	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
	"github.com/mailferry/mailferry/shared/mailbox/graph/graphtest"
)

// breakServers arms faults of the two Exchanges for the run. They are counted when they strike.
func (u *run) breakServers() {
	faults := []func(){
		func() { u.fault(graphtest.Any, "429 with Retry-After").Throttle("17") },
		func() { u.fault(graphtest.ImportItem, "429 with fractional Retry-After").Throttle("2.128") },
		func() { u.fault(graphtest.ImportItem, "429 without Retry-After").Throttle("") },
		func() { u.fault(graphtest.ImportItem, "500").Fail(500) },
		func() { u.fault(graphtest.Any, "502").Fail(502) },
		func() { u.fault(graphtest.ImportItem, "503 with an empty body").Unavailable("") },
		func() { u.fault(graphtest.ImportItem, "504").Fail(504) },
		func() { u.fault(graphtest.ImportItem, "connection reset").Reset() },
		func() { u.fault(graphtest.ImportItem, "import applied, answer lost").LoseAnswer() },
		func() { u.fault(graphtest.ImportItem, "import applied, answer lost").LoseAnswer() },
		func() { u.fault(graphtest.ImportItem, "import refused").Refuse(500, "ErrorCorruptData") },
		func() { u.fault(graphtest.ExportItems, "connection cut in an answer").Cut(int64(1 + u.r.IntN(40_000))) },
		func() { u.fault(graphtest.Any, "slow answer").Delay(20 * time.Second) },
		func() { u.fault(graphtest.ImportItem, "slow answer past the time-out").Delay(4 * time.Minute) },
		u.expireSessions,
		func() { u.ews.Busy("svc", 90*time.Second, 1+u.r.IntN(2)) },
		func() { u.ews.Unavailable(1 + u.r.IntN(2)) },
		func() { u.ews.BatchStopAfter(1 + u.r.IntN(5)) },
		func() { p, it := u.anyItem(); u.ews.Truncate(p.source, it) },
		func() { p, it := u.anyItem(); u.ews.CorruptItem(p.source, it) },
		func() { p, it := u.anyItem(); u.ews.CutConnection(p.source, it, 1+u.r.IntN(2)) },
		func() {
			u.whileCopied("item deleted while copied", func(p *pair, it uint64) { _ = p.source.Delete(it) })
		},
		func() {
			u.whileCopied("item moved while copied", func(p *pair, it uint64) {
				if to, err := p.source.Known("deleteditems"); err == nil {
					_, _ = p.source.Move(it, to.ID)
				}
			})
		},
		func() {
			u.whileCopied("item changed while copied", func(p *pair, it uint64) { p.unsettle(it); p.touch(it) })
		},
	}
	u.ews.OnTrouble(func(t ewstest.Trouble) { u.script.hit("EWS " + string(t)) })
	for range 2 + u.r.IntN(6) {
		faults[u.r.IntN(len(faults))]()
	}
}

// fault is one to three requests, somewhere in the run.
func (u *run) fault(op graphtest.Op, name string) *graphtest.Fault {
	return u.graph.Next(1+u.r.IntN(3), op).After(u.r.IntN(40)).Met(func() { u.script.hit(name) })
}

// expireSessions ends the import sessions at one of the first imports.
func (u *run) expireSessions() {
	u.graph.Before(graphtest.ImportItem, u.once(1+u.r.IntN(20), func() {
		u.script.hit("import session expired")
		for _, p := range u.pairs {
			u.graph.ExpireSessions(p.target)
		}
	}))
}

// whileCopied does something to an item of a source between its listing and its export.
func (u *run) whileCopied(name string, do func(*pair, uint64)) {
	p, it := u.anyItem()
	u.ews.BeforeExport(p.source, it, func() {
		u.script.hit(name)
		do(p, it)
		p.remember()
	})
}

// anyItem chooses an item of a source.
func (u *run) anyItem() (*pair, uint64) {
	p := u.pairs[u.r.IntN(len(u.pairs))]
	it, _ := p.itemOf(u.r)
	return p, it
}

// itemOf chooses an item of the source, if there is one.
func (p *pair) itemOf(r *rand.Rand) (uint64, bool) {
	root, err := p.source.Known("msgfolderroot")
	if err != nil {
		return 0, false
	}
	var all []exchangetest.Item
	for _, f := range p.source.Folders(root.ID, true) {
		all = append(all, p.source.Items(f.ID)...)
	}
	if len(all) == 0 {
		return 0, false
	}
	return all[r.IntN(len(all))].ID, true
}

// meddle changes a source now and then while it is copied, as its user does.
func (u *run) meddle() {
	if u.r.IntN(12) > 0 {
		return
	}
	p, it := u.anyItem()
	p.touch(it)
	u.script.hit("item changed between deliveries")
}

// touch flips an item's read flag.
func (p *pair) touch(id uint64) {
	it, err := p.source.Item(id)
	if err != nil {
		return // its user has deleted it
	}
	flags, _ := it.Properties.Value(fts.TagMessageFlags).(int32)
	_, _ = p.source.SetRead(id, flags&mailbox.FlagRead == 0)
	p.remember()
}

// unsettle notes that an item changes whenever it is read.
func (p *pair) unsettle(id uint64) {
	it, err := p.source.Item(id)
	if err != nil {
		return // its user has deleted it
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.restless == nil {
		p.restless = map[name]bool{}
	}
	for of := range contentOf(p.source).names {
		if of.identity == it.Summary.Identity() {
			p.restless[of] = true
		}
	}
}

// once returns a hook of the Graph server that does something at the n-th request.
func (u *run) once(n int, do func()) func(http.ResponseWriter, *http.Request) bool {
	var seen atomic.Int32
	return func(http.ResponseWriter, *http.Request) bool {
		if int(seen.Add(1)) == n {
			do()
		}
		return false
	}
}

// large adds an item that has to go through staging.
func large(m *exchangetest.Mailbox) error {
	f, err := m.Known("inbox")
	if err != nil {
		return err
	}
	msg := &fts.Message{Properties: fts.Properties{fts.Prop(fts.TagMessageClass, "IPM.Note"), fts.Prop(fts.TagSubject, "Scan"),
		fts.Prop(fts.TagSearchKey, []byte("0123456789abcdef")), fts.Prop(fts.TagMessageFlags, int32(1))},
		Attachments: []fts.Attachment{{Properties: fts.Properties{fts.Prop(fts.TagAttachData, bytes.Repeat([]byte("scan"), 9<<18))}}}}
	var b bytes.Buffer
	if err := fts.Write(&b, msg, fill.Version); err != nil {
		return fmt.Errorf("write large item: %w", err)
	}
	kept, err := m.Keep(&b)
	if err == nil {
		_, err = m.Add(f.ID, kept)
	}
	return err
}
