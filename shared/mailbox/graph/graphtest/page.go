package graphtest

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// line is one entry of a list.
type line interface {
	row
	key() uint64
	entry(typed bool) object
}

// page filters, orders and cuts a list and answers one page of it.
func (c *call) page(rows []line, path string) error {
	q := c.query
	rows = q.chosen(rows)
	if len(q.order) > 0 {
		slices.SortStableFunc(rows, q.compare)
	}
	from, to := c.bounds(len(rows))
	return c.replyPage(rows[from:to], len(rows), to, path)
}

// chosen are the entries that the filter lets through.
func (q *query) chosen(rows []line) []line {
	if q.filter == nil {
		return rows
	}
	return slices.DeleteFunc(rows, func(r line) bool { return !q.filter.matches(r) })
}

// replyCount answers how many of the entries the filter lets through, as plain text.
func (c *call) replyCount(rows []line) error {
	c.w.Header().Set("Content-Type", "text/plain")
	c.w.Header().Set("OData-Version", "4.0")
	_, _ = fmt.Fprint(c.w, len(c.query.chosen(rows))) // a client that has gone has no use for it
	return nil
}

// bounds says which of so many entries this page shows.
func (c *call) bounds(total int) (from, to int) {
	size := c.query.top
	if size == 0 {
		size = c.preferred()
	}
	from = min(c.query.skip, total)
	return from, min(from+size, total)
}

// replyPage answers some of total entries; to is the first that is left for the next page.
func (c *call) replyPage(rows []line, total, to int, path string) error {
	value := make([]object, 0, len(rows))
	for _, r := range rows {
		value = append(value, r.entry(true))
	}
	o := object{{"@odata.context", c.context(path)}}
	if c.query.count {
		o.set("@odata.count", total)
	}
	o.set("value", value)
	if to < total {
		o.set("@odata.nextLink", c.nextLink(path, to))
	}
	return c.reply(http.StatusOK, o)
}

func (q *query) compare(a, b line) int {
	for _, t := range q.order {
		n, _ := order(a.field(t.field), b.field(t.field))
		if t.desc {
			n = -n
		}
		if n != 0 {
			return n
		}
	}
	return 0
}

// nextLink repeats the options of this request, each as it came, and skips what was shown.
func (c *call) nextLink(path string, skip int) string {
	var b strings.Builder
	b.WriteString(c.base() + "/" + path + "?")
	for _, t := range c.query.texts {
		b.WriteString(url.QueryEscape(t[0]) + "=" + url.QueryEscape(t[1]) + "&")
	}
	b.WriteString("%24skip=" + strconv.Itoa(skip))
	return b.String()
}

// preferred is the page size of "Prefer: odata.maxpagesize=n", which the answer acknowledges, or the default.
func (c *call) preferred() int {
	for _, h := range c.r.Header.Values("Prefer") {
		for _, p := range strings.Split(h, ",") {
			name, v, _ := strings.Cut(strings.TrimSpace(p), "=")
			if n, err := strconv.Atoi(strings.TrimSpace(v)); strings.EqualFold(name, "odata.maxpagesize") && err == nil && n > 0 {
				n = min(n, maxPage)
				c.w.Header().Set("Preference-Applied", "odata.maxpagesize="+strconv.Itoa(n))
				return n
			}
		}
	}
	return defaultPage
}
