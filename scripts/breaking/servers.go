package main

import (
	"bytes"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/mailferry/mailferry/scripts/fill"
	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
	"github.com/mailferry/mailferry/shared/mailbox/graph/graphtest"
)

// breakServers arms faults of the two Exchanges for the run.
func (u *run) breakServers() {
	g := u.graph
	faults := []struct {
		name string
		arm  func()
	}{
		{"429 with Retry-After", func() { u.fault(graphtest.Any).Throttle("17") }},
		{"429 with fractional Retry-After", func() { u.fault(graphtest.ImportItem).Throttle("2.128") }},
		{"429 without Retry-After", func() { u.fault(graphtest.ImportItem).Throttle("") }},
		{"500", func() { u.fault(graphtest.ImportItem).Fail(500) }},
		{"502", func() { u.fault(graphtest.Any).Fail(502) }},
		{"503 with an empty body", func() { u.fault(graphtest.ImportItem).Unavailable("") }},
		{"504", func() { u.fault(graphtest.ImportItem).Fail(504) }},
		{"connection reset", func() { u.fault(graphtest.ImportItem).Reset() }},
		{"import applied, answer lost", func() { u.fault(graphtest.ImportItem).LoseAnswer() }},
		{"import applied, answer lost", func() { u.fault(graphtest.ImportItem).LoseAnswer() }},
		{"import refused", func() { u.fault(graphtest.ImportItem).Refuse(500, "ErrorCorruptData") }},
		{"slow answer", func() { u.fault(graphtest.Any).Delay(20 * time.Second) }},
		{"import session expired", func() {
			n := 3 + u.r.IntN(20)
			g.Before(graphtest.ImportItem, u.once(n, func() {
				for _, p := range u.pairs {
					g.ExpireSessions(p.target)
				}
			}))
		}},
		{"EWS server busy", func() { u.ews.Busy("svc", 90*time.Second, 1+u.r.IntN(2)) }},
		{"EWS 503", func() { u.ews.Unavailable(1 + u.r.IntN(2)) }},
		{"EWS batch stop", func() { u.ews.BatchStopAfter(1 + u.r.IntN(5)) }},
		{"EWS truncated data", func() { p, it := u.anyItem(); u.ews.Truncate(p.source, it) }},
		{"EWS corrupt item", func() { p, it := u.anyItem(); u.ews.CorruptItem(p.source, it) }},
		{"EWS connection cut in an item", func() { p, it := u.anyItem(); u.ews.CutConnection(p.source, it, 1+u.r.IntN(2)) }},
		{"item deleted while copied", func() {
			p, it := u.anyItem()
			u.ews.BeforeExport(p.source, it, func() { _ = p.source.Delete(it); p.remember() })
		}},
		{"item moved while copied", func() {
			p, it := u.anyItem()
			u.ews.BeforeExport(p.source, it, func() {
				if to, err := p.source.Known("deleteditems"); err == nil {
					_, _ = p.source.Move(it, to.ID)
					p.remember()
				}
			})
		}},
		{"item changed while copied", func() { p, it := u.anyItem(); u.ews.BeforeExport(p.source, it, func() { p.touch(it) }) }},
	}
	for range 2 + u.r.IntN(6) {
		f := faults[u.r.IntN(len(faults))]
		f.arm()
		u.script.hit(f.name)
	}
}

// fault is one to three requests, somewhere in the run.
func (u *run) fault(op graphtest.Op) *graphtest.Fault {
	return u.graph.Next(1+u.r.IntN(3), op).After(u.r.IntN(40))
}

// anyItem chooses an item of a source.
func (u *run) anyItem() (*pair, uint64) {
	p := u.pairs[u.r.IntN(len(u.pairs))]
	root, err := p.source.Known("msgfolderroot")
	if err != nil {
		return p, 0
	}
	var all []exchangetest.Item
	for _, f := range p.source.Folders(root.ID, true) {
		all = append(all, p.source.Items(f.ID)...)
	}
	return p, all[u.r.IntN(len(all))].ID
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
