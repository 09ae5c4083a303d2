package pipeline_test

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/ews"
	"github.com/mailferry/mailferry/shared/mailbox/ews/ewstest"
	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
	"github.com/mailferry/mailferry/shared/mailbox/graph"
	"github.com/mailferry/mailferry/shared/mailbox/graph/graphtest"
	"github.com/mailferry/mailferry/shared/mailbox/mailboxtest"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/operator"
	"github.com/mailferry/mailferry/shared/pipeline"
	"github.com/mailferry/mailferry/shared/pipeline/pipelinetest"
	"github.com/mailferry/mailferry/shared/submitter"
	"github.com/mailferry/mailferry/shared/verifier"
)

type token struct{ *graphtest.Server }

func (s token) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: s.Token(), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// What a delta pass costs, over the protocols: a mailbox of 3,000 items in 20 folders, verified by sample. With states that
// are refused it lists all of them, as it would without any.
func BenchmarkDelta(b *testing.B) {
	for _, bm := range []struct {
		name   string
		change func(*delivery)
	}{
		{"nothing has changed", func(*delivery) {}},
		{"a mail came", func(d *delivery) { d.mail(b) }},
		{"a mail came and states are refused", func(d *delivery) { d.mail(b); d.ews.ForgetStates(d.source); d.graph.ExpireDelta(d.target) }},
	} {
		b.Run(bm.name, func(b *testing.B) {
			d := newDelivery(b)
			var before, after [3]float64
			for b.Loop() {
				b.StopTimer()
				bm.change(d)
				before = d.asked()
				b.StartTimer()
				d.pass(b)
				after = d.asked()
			}
			for i, unit := range []string{"EWS-requests/op", "Graph-requests/op", "Graph-MB/op"} {
				b.ReportMetric(after[i]-before[i], unit) // of the last one
			}
		})
	}
}

// delivery is a synced mailbox on two simulated servers.
type delivery struct {
	*pipelinetest.Local
	ews            *ewstest.Server
	graph          *graphtest.Server
	source, target *exchangetest.Mailbox
	wave           migration.WaveID
	mails          int
}

func newDelivery(b *testing.B) *delivery {
	b.Helper()
	const folders, each = 20, 150
	d := &delivery{ews: ewstest.Start(ewstest.Options{}), source: exchangetest.New("ann@old.example", exchangetest.Options{}),
		target: exchangetest.New("ann@new.example", exchangetest.Options{})}
	b.Cleanup(d.ews.Close)
	var err error
	if d.graph, err = graphtest.Start(graphtest.Options{}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(d.graph.Close)
	d.ews.AddAccount("svc", "secret", "CORP", ewstest.MayImpersonateAll())
	d.ews.AddMailbox(d.source)
	d.graph.AddMailbox(d.target)
	from, err := ews.New(ews.Options{URL: d.ews.URL(), Accounts: []ews.Account{{User: `CORP\svc`, Password: "secret"}}})
	if err != nil {
		b.Fatal(err)
	}
	to, err := graph.New(graph.Options{BaseURL: d.graph.URL(), Credential: token{d.graph}})
	if err != nil {
		b.Fatal(err)
	}
	d.Local = pipelinetest.New(func(n *pipeline.Needs) { n.Sources, n.Targets, n.Depth = from, to, verifier.Sample })
	inbox, err := d.source.Known("inbox")
	if err != nil {
		b.Fatal(err)
	}
	for f := range folders {
		made, err := d.source.CreateFolder(inbox.ID, fmt.Sprint("Folder ", f), "IPF.Note")
		if err != nil {
			b.Fatal(err)
		}
		for range each {
			d.add(b, made.ID)
		}
	}
	w, err := d.Submit(b.Context(), submitter.Batch{Cutover: pipelinetest.Start.Add(1000 * time.Hour), Mailboxes: []submitter.Line{{Source: d.source.Address, Target: d.target.Address}}})
	if err != nil {
		b.Fatal(err)
	}
	d.wave = w.ID
	d.settle(b)
	return d
}

func (d *delivery) add(b *testing.B, folder uint64) {
	b.Helper()
	kept, err := d.source.Keep(open(b, mailboxtest.Letter(b, d.mails)))
	if err != nil {
		b.Fatal(err)
	}
	d.mails++
	if _, err := d.source.Add(folder, kept); err != nil {
		b.Fatal(err)
	}
}

func (d *delivery) mail(b *testing.B) {
	b.Helper()
	inbox, err := d.source.Known("inbox")
	if err != nil {
		b.Fatal(err)
	}
	d.add(b, inbox.ID)
}

// pass makes a delta pass.
func (d *delivery) pass(b *testing.B) {
	b.Helper()
	if _, err := d.Operator.Act(b.Context(), operator.Delta, d.wave, ""); err != nil {
		b.Fatal(err)
	}
	d.settle(b)
}

func (d *delivery) settle(b *testing.B) {
	b.Helper()
	if err := d.Run(b.Context(), 5000); err != nil {
		b.Fatal(err)
	}
	for box, err := range d.Ledger.WaveMailboxes(b.Context(), d.wave) {
		if err != nil || box.State != migration.Synced || box.Counts.Match != d.mails {
			b.Fatalf("%s, %+v of %d, %s, %v", box.State, box.Counts, d.mails, box.Problem, err)
		}
	}
}

// asked is what both servers were asked for so far.
func (d *delivery) asked() (n [3]float64) {
	for _, op := range []string{"GetFolder", "FindFolder", "FindItem", "SyncFolderItems", "ExportItems"} {
		n[0] += float64(d.ews.Requests(op))
	}
	c := d.graph.Count(d.target, graphtest.Any)
	n[1], n[2] = float64(c.Requests), float64(c.Out)/(1<<20)
	return n
}

func open(b *testing.B, s mailbox.Stream) io.Reader {
	b.Helper()
	r, err := s.Open(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = r.Close() })
	return r
}
