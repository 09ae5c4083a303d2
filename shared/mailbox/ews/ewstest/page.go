package ewstest

import "strconv"

// page is the part of a listing that was asked for.
type page struct {
	view        string // "" is all
	max         int    // -1 is not said
	offset      int
	end         bool // BasePoint End
	numerator   int
	denominator int
}

func readPage(op *element, indexed, fractional string) (page, *problem) {
	p := page{max: -1}
	e := op.child(indexed)
	if e != nil {
		p.view, p.end = "indexed", e.attr("BasePoint") == "End"
		n, ok := decimal(e.attr("Offset"))
		if p.offset = n; !ok || n < 0 {
			return p, newProblem("ErrorInvalidIndexedPagingParameters")
		}
	} else if e = op.child(fractional); e != nil {
		p.view = "fractional"
		var ok1, ok2 bool
		p.numerator, ok1 = decimal(e.attr("Numerator"))
		p.denominator, ok2 = decimal(e.attr("Denominator"))
		if !ok1 || !ok2 || p.denominator <= 0 || p.numerator < 0 || p.numerator > p.denominator {
			return p, newProblem("ErrorInvalidFractionalPagingParameters")
		}
	}
	if e != nil && e.has("MaxEntriesReturned") {
		n, ok := decimal(e.attr("MaxEntriesReturned"))
		if p.max = n; !ok || n <= 0 {
			return p, newProblem("ErrorInvalidPagingMaxRows")
		}
	}
	return p, nil
}

// pageCap is how many rows a page has at most, whatever is asked for.
const pageCap = 1000

// window returns which of n rows the page shows, after the account's find count is charged with them. A page that
// does not fit is cut for clients that know of it (Exchange2010_SP1 and an indexed view); others are refused.
func (c *call) window(pg page, n int) (from, to int, p *problem) {
	from, to = pg.rows(n)
	want := min(to-from, pageCap)
	if pg.view == "indexed" {
		want = c.s.short.cut(want)
	}
	got := want
	if want > 0 {
		got = c.find(want)
	}
	partial := pg.view != "" && c.since("Exchange2010_SP1")
	switch {
	case got < want && (!partial || got == 0), to-from > pageCap && !partial:
		if c.since("Exchange2010_SP1") && got > 0 {
			return 0, 0, newProblem("ErrorExceededFindCountLimit")
		}
		return 0, 0, newProblem("ErrorServerBusy")
	case pg.end:
		return to - got, to, nil
	}
	return from, from + got, nil
}

// rows is the window before any limit.
func (p page) rows(n int) (from, to int) {
	switch {
	case p.view == "fractional":
		from = n * p.numerator / p.denominator
	case p.end:
		to = max(n-p.offset, 0)
		if p.max >= 0 {
			from = max(to-p.max, 0)
		}
		return from, to
	default:
		from = min(p.offset, n)
	}
	to = n
	if p.max >= 0 {
		to = min(n, from+p.max)
	}
	return from, to
}

// attrs are those of RootFolder.
func (p page) attrs(from, to, n int) []string {
	last := to >= n
	next := to
	if p.end {
		last, next = from == 0, n-from
	}
	a := []string{}
	switch p.view {
	case "indexed":
		a = append(a, "IndexedPagingOffset", strconv.Itoa(next))
	case "fractional":
		a = append(a, "NumeratorOffset", strconv.Itoa(to), "AbsoluteDenominator", strconv.Itoa(n))
	}
	return append(a, "TotalItemsInView", strconv.Itoa(n), "IncludesLastItemInRange", strconv.FormatBool(last))
}
