package graphtest

import (
	"net/http"
	"net/url"
)

// readSettings tells a user's mailbox ids. It takes no options.
func (c *call) readSettings() error {
	if err := c.parse(entity{name: "microsoft.graph.exchangeSettings"}); err != nil {
		return err
	}
	u := c.user
	if u.Mailbox == nil || u.NoREST {
		return refuse(http.StatusNotFound, "MailboxNotEnabledForRESTAPI", "The mailbox is either inactive, soft-deleted, or is hosted on-premise.")
	}
	o := object{{"@odata.context", c.context("users('" + url.QueryEscape(c.parts["user"]) + "')/settings/exchange/$entity")}}
	if c.version == "beta" {
		var archive any
		if u.Archive != nil {
			archive = c.s.MailboxID(u.Archive)
		}
		o.set("inPlaceArchiveMailboxId", archive)
	}
	o.set("primaryMailboxId", c.box.id)
	return c.reply(http.StatusOK, o)
}

func (c *call) readMailbox() error {
	if err := c.parse(entity{name: "microsoft.graph.mailbox", fields: []string{"id"}}, optSelect); err != nil {
		return err
	}
	return c.reply(http.StatusOK, object{
		{"@odata.context", c.context("admin/exchange/mailboxes/$entity")},
		{"id", c.box.id},
	})
}
