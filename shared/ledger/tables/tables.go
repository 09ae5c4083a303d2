// Package tables is the ledger's Table in Azure Table storage.
package tables

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"

	"github.com/mailferry/mailferry/shared/ledger"
)

// Table is one table of a storage account.
type Table struct{ client *aztables.Client }

// Of returns the table of that name, which must be there before it is used.
func Of(s *aztables.ServiceClient, name string) *Table { return &Table{s.NewClient(name)} }

// Create makes the table if it is not there. In Azure, infra does so.
func (t *Table) Create(ctx context.Context) error {
	_, err := t.client.CreateTable(ctx, nil)
	if err != nil && status(err) != http.StatusConflict {
		return ours("create table", err)
	}
	return nil
}

// chunk is how many characters of a body one column holds: a string property is at most 64 KiB in UTF-16.
const chunk = 30 << 10

// entity writes a row's columns: Body0, Body1, … and what is shown to people.
func entity(r ledger.Row) ([]byte, error) {
	cols := map[string]any{"PartitionKey": r.Partition, "RowKey": r.Key}
	for k, v := range r.Shown {
		cols[k] = v
	}
	body, n := string(r.Body), 0
	for len(body) > 0 {
		cut := min(chunk, len(body))
		cols[fmt.Sprintf("Body%d", n)] = body[:cut]
		body, n = body[cut:], n+1
	}
	return json.Marshal(cols)
}

func row(value []byte, etag string) (ledger.Row, error) {
	var cols map[string]any
	if err := json.Unmarshal(value, &cols); err != nil {
		return ledger.Row{}, fmt.Errorf("read entity: %w", err)
	}
	text := func(name string) string { s, _ := cols[name].(string); return s }
	r := ledger.Row{Partition: text("PartitionKey"), Key: text("RowKey"), ETag: etag}
	if r.ETag == "" {
		r.ETag = text("odata.etag")
	}
	var body strings.Builder
	for n := 0; ; n++ {
		s, ok := cols[fmt.Sprintf("Body%d", n)].(string)
		if !ok {
			r.Body = []byte(body.String())
			return r, nil
		}
		body.WriteString(s)
	}
}

// Insert implements ledger.Table.
func (t *Table) Insert(ctx context.Context, rows ...ledger.Row) error {
	if err := ledger.CheckInsert(rows); err != nil {
		return err
	}
	actions := make([]aztables.TransactionAction, len(rows))
	for i, r := range rows {
		b, err := entity(r)
		if err != nil {
			return err
		}
		if len(rows) == 1 {
			_, err = t.client.AddEntity(ctx, b, nil)
			return ours("insert row", err)
		}
		actions[i] = aztables.TransactionAction{ActionType: aztables.TransactionTypeAdd, Entity: b}
	}
	_, err := t.client.SubmitTransaction(ctx, actions, nil)
	return ours("insert rows", err)
}

// Row implements ledger.Table.
func (t *Table) Row(ctx context.Context, partition, key string) (ledger.Row, error) {
	got, err := t.client.GetEntity(ctx, partition, key, nil)
	if err != nil {
		return ledger.Row{}, ours("read row", err)
	}
	return row(got.Value, string(got.ETag))
}

// Replace implements ledger.Table.
func (t *Table) Replace(ctx context.Context, r ledger.Row) (ledger.Row, error) {
	if err := ledger.CheckRow(r); err != nil {
		return r, err
	}
	b, err := entity(r)
	if err != nil {
		return r, err
	}
	tag := azcore.ETag(r.ETag)
	got, err := t.client.UpdateEntity(ctx, b, &aztables.UpdateEntityOptions{IfMatch: &tag, UpdateMode: aztables.UpdateModeReplace})
	if err != nil {
		return r, ours("replace row", err)
	}
	r.ETag = string(got.ETag)
	return r, nil
}

// Delete implements ledger.Table.
func (t *Table) Delete(ctx context.Context, r ledger.Row) error {
	tag := azcore.ETag(r.ETag)
	_, err := t.client.DeleteEntity(ctx, r.Partition, r.Key, &aztables.DeleteEntityOptions{IfMatch: &tag})
	if err = ours("delete row", err); errors.Is(err, ledger.ErrNotFound) {
		return nil
	}
	return err
}

// Rows implements ledger.Table.
func (t *Table) Rows(ctx context.Context, partition, prefix string) iter.Seq2[ledger.Row, error] {
	filter := "PartitionKey eq " + quoted(partition)
	if prefix != "" {
		filter += " and RowKey ge " + quoted(prefix) + " and RowKey lt " + quoted(prefix+"\uFFFD")
	}
	return func(yield func(ledger.Row, error) bool) {
		pages := t.client.NewListEntitiesPager(&aztables.ListEntitiesOptions{Filter: &filter})
		for pages.More() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(ledger.Row{}, ours("list rows", err))
				return
			}
			for _, e := range page.Entities {
				if r, err := row(e, ""); !yield(r, err) || err != nil {
					return
				}
			}
		}
	}
}

func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

func status(err error) int {
	if r, ok := errors.AsType[*azcore.ResponseError](err); ok {
		return r.StatusCode
	}
	return 0
}

// innerStatus finds the status of the operation that failed in a transaction: the client reports the outer 202.
var innerStatus = regexp.MustCompile(`HTTP/1\.1 (\d{3})`)

// ours turns an answer of the service into the ledger's errors.
func ours(verb string, err error) error {
	if err == nil {
		return nil
	}
	code := status(err)
	if code == http.StatusAccepted {
		code = 0
		for _, m := range innerStatus.FindAllStringSubmatch(err.Error(), -1) {
			if n, err := strconv.Atoi(m[1]); err == nil && n >= 400 {
				code = n
			}
		}
	}
	// The client's error text quotes the URL with its keys and the answer; only the status is kept.
	switch code {
	case http.StatusConflict:
		return fmt.Errorf("%s: %w", verb, ledger.ErrExists)
	case http.StatusPreconditionFailed:
		return fmt.Errorf("%s: %w", verb, ledger.ErrConflict)
	case http.StatusNotFound:
		return fmt.Errorf("%s: %w", verb, ledger.ErrNotFound)
	case 0:
		return fmt.Errorf("%s: %w", verb, err)
	}
	return fmt.Errorf("%s: Table storage answers %d", verb, code)
}
