package ewstest

import "github.com/mailferry/mailferry/shared/mailbox/exchangetest"

// moveItem is MoveItem and CopyItem.
func (c *call) moveItem() *fault {
	return c.respond(func() {
		to, bad := c.folder(c.op.child("ToFolderId").kids0())
		if bad != nil && bad.code == "ErrorFolderNotFound" {
			bad = newProblem("ErrorToFolderNotFound")
		}
		quiet := c.op.child("ReturnNewItemIds") != nil && !c.op.child("ReturnNewItemIds").isTrue()
		for _, e := range c.op.child("ItemIds").kids {
			r, p := c.moved(e, to, bad)
			if p != nil {
				c.refuse(p, c.emptyItems)
				continue
			}
			c.success(func() { c.idOnly(r, quiet) })
		}
	})
}

func (c *call) moved(e *element, to ref, bad *problem) (ref, *problem) {
	r, p := c.item(e)
	if p = firstProblem(bad, p); p != nil {
		return ref{}, p
	}
	if r.m != to.m {
		return c.across(r, to)
	}
	change := r.m.Copy
	if c.op.name.Local == "MoveItem" {
		change = r.m.Move
	}
	it, err := change(r.item.ID, to.folder.ID)
	if err != nil {
		return ref{}, storeProblem(err)
	}
	return ref{m: r.m, item: it}, nil
}

// across copies or moves between mailboxes.
func (c *call) across(r, to ref) (ref, *problem) {
	it, err := to.m.Add(to.folder.ID, r.item.Stream)
	if err == nil && c.op.name.Local == "MoveItem" {
		err = r.m.Delete(r.item.ID)
	}
	if err != nil {
		return ref{}, storeProblem(err)
	}
	return ref{m: to.m, item: it}, nil
}

// idOnly writes Items with one item's id, or empty when it is not wanted.
func (c *call) idOnly(r ref, quiet bool) {
	if quiet {
		c.emptyItems()
		return
	}
	c.w.open("m:Items")
	c.writeItem(&view{m: r.m, it: r.item, sh: &shape{base: "IdOnly"}})
	c.w.close("m:Items")
}

func (c *call) deleteItem() *fault {
	return c.respond(func() {
		for _, e := range c.op.child("ItemIds").kids {
			if p := c.deleted(e); p != nil {
				c.refuse(p, nil)
				continue
			}
			c.success(nil)
		}
	})
}

// deleted removes an item: for good, into the dumpster, or into the folder of deleted items.
func (c *call) deleted(e *element) *problem {
	r, p := c.item(e)
	if p != nil {
		return p
	}
	switch kind := kindOf(r.item.Summary.Class).fields; {
	case kind == isCalendar && c.op.attr("SendMeetingCancellations") == "":
		return newProblem("ErrorSendMeetingCancellationsRequired")
	case kind == isTask && c.op.attr("AffectedTaskOccurrences") == "":
		return newProblem("ErrorAffectedTaskOccurrencesRequired")
	}
	return c.discard(r)
}

func (c *call) discard(r ref) *problem {
	into := map[string]string{"SoftDelete": "recoverableitemsdeletions", "MoveToDeletedItems": "deleteditems"}[c.op.attr("DeleteType")]
	var err error
	if f, none := r.m.Known(into); into == "" || none != nil {
		err = r.m.Delete(r.item.ID)
	} else {
		_, err = r.m.Move(r.item.ID, f.ID)
	}
	if err != nil {
		return storeProblem(err)
	}
	return nil
}

func (c *call) updateItem() *fault {
	return c.respond(func() {
		for _, e := range c.op.child("ItemChanges").kids {
			r, p := c.updated(e)
			if p != nil {
				c.refuse(p, c.emptyItems)
				continue
			}
			c.success(func() {
				c.idOnly(r, false)
				c.w.open("m:ConflictResults")
				c.w.num("t:Count", 0)
				c.w.close("m:ConflictResults")
			})
		}
	})
}

func (c *call) updated(e *element) (ref, *problem) {
	id := e.kids0()
	r, p := c.item(id)
	if p != nil {
		return ref{}, p
	}
	if p := c.mayUpdate(r); p != nil {
		return ref{}, p
	}
	if !r.current(id) && c.op.attr("ConflictResolution") != "AlwaysOverwrite" {
		return ref{}, newProblem("ErrorIrresolvableConflict")
	}
	edits, p := c.readEdits(e.child("Updates"))
	if p != nil {
		return ref{}, p
	}
	if len(edits.changes) == 0 && edits.read != nil {
		it, err := r.m.SetRead(r.item.ID, *edits.read)
		return updatedRef(r, it, err)
	}
	it, err := r.m.Edit(r.item.ID, edits.apply)
	return updatedRef(r, it, err)
}

// mayUpdate looks at what an update sends: nothing ever is from here.
func (c *call) mayUpdate(r ref) *problem {
	disposition := c.op.attr("MessageDisposition")
	switch kind := kindOf(r.item.Summary.Class).fields; {
	case kind&isMessage != 0 && disposition == "":
		return newProblem("ErrorMessageDispositionRequired")
	case kind&isMessage != 0 && disposition != "SaveOnly":
		return newProblem("ErrorSendAsDenied")
	case kind == isCalendar && c.op.attr("SendMeetingInvitationsOrCancellations") == "":
		return newProblem("ErrorSendMeetingInvitationsOrCancellationsRequired")
	}
	return nil
}

func updatedRef(r ref, it exchangetest.Item, err error) (ref, *problem) {
	if err != nil {
		return ref{}, storeProblem(err)
	}
	return ref{m: r.m, item: it}, nil
}
