package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/mailferry/mailferry/scripts/stack"
	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/mailbox/ews"
	"github.com/mailferry/mailferry/shared/mailbox/fts"
	"github.com/mailferry/mailferry/shared/mailbox/graph"
	"github.com/mailferry/mailferry/shared/mailbox/graph/graphtest"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/receipt"
)

// summary is what --json writes.
type summary struct {
	Mailboxes struct {
		Total  int `json:"total"`
		Done   int `json:"done"`
		Failed int `json:"failed"`
	} `json:"mailboxes"`
	Items   counts  `json:"items"`
	Bytes   int64   `json:"bytes"` // of the matching items' streams, read from the target
	Seconds float64 `json:"seconds"`

	receipts int // that were checked
}

type counts struct {
	Source  int `json:"source"`
	Target  int `json:"target"`
	Match   int `json:"match"`
	Missing int `json:"missing"`
	Extra   int `json:"extra"`
	Differs int `json:"differs"`
	Skipped int `json:"skipped"`
}

func (s *summary) good() bool {
	return s.Mailboxes.Done == s.Mailboxes.Total && s.Items.Missing+s.Items.Extra+s.Items.Differs == 0
}

// row is one mailbox's line in the table.
type row struct {
	name  string
	state migration.State
	counts
	bytes int64
	note  string
}

// compare asks both Exchanges, as another app than Mailferry, and compares every item's content. Only why an item was
// skipped is taken from the pipeline's report.
func compare(ctx context.Context, s *stack.Stack, api client, wave migration.WaveID, pairs []pair) (*summary, []row, error) {
	var st status
	if err := api.call(ctx, http.MethodGet, "/api/waves/"+string(wave), nil, &st); err != nil {
		return nil, nil, err
	}
	source, target, err := auditors(s)
	if err != nil {
		return nil, nil, err
	}
	sum := &summary{}
	sum.Mailboxes.Total = len(pairs)
	rows := map[string]row{}
	for _, b := range st.Boxes {
		var rep report
		if err := api.call(ctx, http.MethodGet, "/api/waves/"+string(wave)+"/mailboxes/"+string(b.ID), nil, &rep); err != nil {
			return nil, nil, err
		}
		if b.State == migration.Done {
			if err := checkReceipt(ctx, s, api, "/api/waves/"+string(wave)+"/mailboxes/"+string(b.ID)); err != nil {
				return nil, nil, err
			}
			sum.receipts++
		}
		rows[rep.Source] = row{state: b.State, note: b.Problem, counts: counts{Skipped: skips(rep)}}
	}
	var out []row
	for _, p := range pairs {
		r := rows[p.source.Address]
		r.name = p.target.Address
		if err := r.ask(ctx, source, target, p); err != nil {
			return nil, nil, fmt.Errorf("compare mailbox: %w", err)
		}
		sum.add(r)
		out = append(out, r)
	}
	return sum, out, nil
}

// checkReceipt fetches a mailbox's receipt and checks its signature and every leaf.
func checkReceipt(ctx context.Context, s *stack.Stack, api client, path string) error {
	file, err := api.fetch(ctx, http.MethodGet, path+"/receipt", nil)
	if err != nil {
		return err
	}
	leaves, err := api.fetch(ctx, http.MethodGet, path+"/leaves", nil)
	if err != nil {
		return err
	}
	if _, err := receipt.Verify(file, bytes.NewReader(leaves), []ed25519.PublicKey{s.Signer.Public()}); err != nil {
		return fmt.Errorf("check receipt: %w", err)
	}
	return nil
}

// skips counts the items that the pipeline reports as skipped, each once.
func skips(rep report) int {
	seen := map[string]bool{}
	for _, p := range rep.Problems {
		switch mailbox.Reason(p.Reason) {
		case mailbox.Corrupt, mailbox.TooBig, mailbox.Refused:
			seen[p.About] = true
		}
	}
	return len(seen)
}

func (s *summary) add(r row) {
	switch r.state {
	case migration.Done:
		s.Mailboxes.Done++
	case migration.Failed:
		s.Mailboxes.Failed++
	}
	i := &s.Items
	i.Source, i.Target, i.Match = i.Source+r.Source, i.Target+r.Target, i.Match+r.Match
	i.Missing, i.Extra, i.Differs, i.Skipped = i.Missing+r.Missing, i.Extra+r.Extra, i.Differs+r.Differs, i.Skipped+r.Skipped
	s.Bytes += r.bytes
}

// auditors are clients of both sides that the pipeline has no part in.
func auditors(s *stack.Stack) (*ews.Client, *graph.Client, error) {
	source, err := ews.New(ews.Options{URL: s.EWS.URL(), Accounts: []ews.Account{{User: stack.ServiceDomain + `\` + stack.ServiceUser, Password: stack.ServicePassword}}})
	if err != nil {
		return nil, nil, err
	}
	target, err := graph.New(graph.Options{BaseURL: s.Graph.URL(), Credential: auditor{s.Graph}})
	return source, target, err
}

// auditor is the identity that asks afterwards.
type auditor struct{ graph *graphtest.Server }

func (a auditor) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	token := a.graph.TokenFor(graphtest.App{ID: stack.AuditorID, Roles: graphtest.AllRoles()})
	return azcore.AccessToken{Token: token, ExpiresOn: time.Now().Add(30 * time.Minute)}, nil
}

// ask lists and exports one mailbox on both sides.
func (r *row) ask(ctx context.Context, sources mailbox.Sources, targets mailbox.Targets, p pair) error {
	source, err := sources.Source(ctx, p.source.Address)
	if err != nil {
		return fmt.Errorf("open source: %w", err)
	}
	target, err := targets.Target(ctx, p.target.Address)
	if err != nil {
		return fmt.Errorf("open target: %w", err)
	}
	from, err := source.Folders(ctx)
	if err != nil {
		return fmt.Errorf("list source folders: %w", err)
	}
	to, err := target.Folders(ctx)
	if err != nil {
		return fmt.Errorf("list target folders: %w", err)
	}
	asked := map[mailbox.FolderID]bool{}
	for _, f := range mailbox.Pairs(from, to) {
		asked[f.Target.ID] = true
		if err := r.folder(ctx, source, target, f); err != nil {
			return err
		}
	}
	for _, f := range to { // folders that only the target has
		if !asked[f.ID] {
			r.Target, r.Extra = r.Target+f.Items, r.Extra+f.Items
		}
	}
	r.Missing = max(0, r.Missing-r.Skipped)
	return nil
}

func (r *row) folder(ctx context.Context, source, target mailbox.Side, f mailbox.Pair) error {
	want, err := mailbox.List(ctx, source, f.Source.ID)
	if err != nil {
		return fmt.Errorf("list source folder: %w", err)
	}
	r.Source += len(want)
	if f.Target.ID == "" {
		r.Missing += len(want)
		return nil
	}
	have, err := mailbox.List(ctx, target, f.Target.ID)
	if err != nil {
		return fmt.Errorf("list target folder: %w", err)
	}
	r.Target += len(have)
	byKey := map[mailbox.Key]mailbox.Keyed{}
	for _, h := range have {
		byKey[h.Key] = h
	}
	var left, right []mailbox.ItemID
	for _, w := range want {
		h, there := byKey[w.Key]
		delete(byKey, w.Key)
		switch {
		case !there:
			r.Missing++
		case len(mailbox.Differences(w.Item, h.Item)) > 0:
			r.Differs++
		default:
			left, right = append(left, w.ID), append(right, h.ID)
		}
	}
	r.Extra += len(byKey)
	return r.contents(ctx, source, target, left, right)
}

// contents exports items from both sides and compares everything that a server does not change by itself.
func (r *row) contents(ctx context.Context, source, target mailbox.Side, left, right []mailbox.ItemID) error {
	a, err := digests(ctx, source, left)
	if err != nil {
		return fmt.Errorf("export from source: %w", err)
	}
	b, err := digests(ctx, target, right)
	if err != nil {
		return fmt.Errorf("export from target: %w", err)
	}
	for i := range a {
		if a[i].Digest != b[i].Digest {
			r.Differs++
			continue
		}
		r.Match++
		r.bytes += b[i].Bytes
	}
	return nil
}

func digests(ctx context.Context, side mailbox.Side, ids []mailbox.ItemID) ([]fts.Summary, error) {
	out := make([]fts.Summary, len(ids))
	if len(ids) == 0 {
		return out, nil
	}
	err := side.Export(ctx, ids, func(i int, r io.Reader, err error) error {
		if err == nil {
			out[i], err = fts.Summarize(r)
		}
		if _, gone := errors.AsType[*mailbox.ItemError](err); gone {
			out[i] = fts.Summary{Recipients: -1 - i} // equal to nothing
			return nil
		}
		return err
	})
	return out, err
}

// show prints the verification table and the figures of the run.
func show(ctx context.Context, out io.Writer, rows []row, s *summary, st *stack.Stack) {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\nmailbox\tstate\tsource\ttarget\tmatch\tmissing\textra\tdiffers\tskipped\tMB\t")
	for _, r := range rows {
		line(t, r.name, string(r.state), r.counts, r.bytes)
		if r.note != "" {
			fmt.Fprintf(t, "\t%s\t\t\t\t\t\t\t\t\t\n", r.note)
		}
	}
	line(t, "total", "", s.Items, s.Bytes)
	_ = t.Flush()
	verdict := "Every mailbox was verified: nothing is missing, extra or different."
	if !s.good() {
		verdict = "NOT verified."
	}
	fmt.Fprintf(out, "\n%s\n%d items and %.1f MB in %.1f s: %.0f items/s. The simulated limits of Graph and EWS were on.\n",
		verdict, s.Items.Match, float64(s.Bytes)/1e6, s.Seconds, float64(s.Items.Match)/s.Seconds)
	fmt.Fprintf(out, "Receipts checked, every line of them: %d, signed with the key %s….\n", s.receipts, receipt.Fingerprint(st.Signer.Public())[:16])
	showHandler(ctx, out, st)
}

// showHandler prints what the handler's processes took. How fast one starts is measured once more, alone: on this machine
// all start at once, in Azure each has an instance of its own.
func showHandler(ctx context.Context, out io.Writer, st *stack.Stack) {
	var peak int64
	var slowest time.Duration
	all := st.Host.Processes()
	for _, p := range all {
		peak, slowest = max(peak, p.PeakRSS), max(slowest, p.Ready)
	}
	ready := ""
	if times := startAlone(ctx, st, "parkplan", "parkcopy", "parkverify"); len(times) > 0 {
		ready = fmt.Sprintf("ready after %d ms; ", times[len(times)/2].Milliseconds())
	}
	fmt.Fprintf(out, "Handler: %s%d processes started at once after at most %d ms; at most %.0f MB of memory in one.\n",
		ready, len(all), slowest.Milliseconds(), float64(peak)/1e6)
}

// startAlone starts the processes of functions that have nothing to do again, one after the other, and returns how long
// each took to answer, the fastest first.
func startAlone(ctx context.Context, st *stack.Stack, functions ...string) (times []time.Duration) {
	for _, f := range functions {
		if st.Host.Kill(f) != nil || st.Host.Ready(ctx) != nil {
			return nil
		}
		for _, p := range st.Host.Processes() {
			if p.Group == "function:"+f {
				times = append(times, p.Ready)
			}
		}
	}
	slices.Sort(times)
	return times
}

func line(w io.Writer, name, state string, c counts, bytes int64) {
	fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%.1f\t\n", name, state, c.Source, c.Target, c.Match, c.Missing, c.Extra, c.Differs, c.Skipped, float64(bytes)/1e6)
}
