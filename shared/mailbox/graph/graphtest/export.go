package graphtest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
)

// maxExport is how many items one export takes.
const maxExport = 20

// readItemIDs reads {"itemIds":[…]}; the documentation and the metadata disagree on the first letter.
func (c *call) readItemIDs() ([]string, error) {
	m, err := c.fields()
	if err != nil {
		return nil, err
	}
	var ids []string
	for name, raw := range m {
		if !strings.EqualFold(name, "itemIds") {
			return nil, badRequest("The parameter '%s' in the request payload is not a valid parameter for the operation 'exportItems'.", printable(name))
		}
		if ids != nil || json.Unmarshal(raw, &ids) != nil {
			return nil, badRequest("The parameter 'ItemIds' is a collection of strings.")
		}
	}
	if len(ids) == 0 || len(ids) > maxExport {
		return nil, badRequest("The parameter 'ItemIds' takes 1 to %d ids.", maxExport)
	}
	return ids, nil
}

// exportItems streams items one after another. What is wrong with one item stands in its entry.
func (c *call) exportItems() error {
	if err := c.parse(itemEntity()); err != nil {
		return err
	}
	ids, err := c.readItemIDs()
	if err != nil {
		return err
	}
	h := c.w.Header()
	h.Set("Content-Type", jsonType)
	h.Set("OData-Version", "4.0")
	c.w.WriteHeader(http.StatusOK)
	fmt.Fprintf(c.w, `{"@odata.context":%s,"value":[`, quote(c.context("Collection(microsoft.graph.exportItemResponse)")))
	for i, id := range ids {
		if i > 0 {
			fmt.Fprint(c.w, ",")
		}
		if err := c.exportOne(id); err != nil {
			c.w.lost = true // too late for a status: cut the answer off
			return nil
		}
	}
	fmt.Fprint(c.w, "]}")
	return nil
}

func quote(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		return []byte(`""`)
	}
	return b
}

func (c *call) exportOne(id string) error {
	it, err := c.itemByID(id)
	if err == nil {
		err = c.refusedExport(it.ID)
	}
	if err != nil {
		r := asRefusal(err)
		_, err := fmt.Fprintf(c.w, `{"itemId":%s,"error":{"code":%s,"message":%s}}`, quote(id), quote(r.code), quote(r.message))
		return err
	}
	return c.streamItem(id, it)
}

func (c *call) refusedExport(item uint64) error {
	if code := state(c, func(b *box) string { return b.refused[item] }); code != "" {
		return refuse(http.StatusInternalServerError, code, "The item could not be exported.")
	}
	return nil
}

func (c *call) streamItem(id string, it exchangetest.Item) error {
	r, err := it.Stream.Open(c.ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	fmt.Fprintf(c.w, `{"itemId":%s,"changeKey":%s,"data":"`, quote(id), quote(c.box.ids.change(it.Change)))
	e := base64.NewEncoder(base64.StdEncoding, c.w)
	if _, err := io.Copy(e, r); err != nil {
		return err
	}
	if err := e.Close(); err != nil {
		return err
	}
	_, err = fmt.Fprint(c.w, `"}`)
	return err
}
