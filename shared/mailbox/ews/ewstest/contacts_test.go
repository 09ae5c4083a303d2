package ewstest

import (
	"strings"
	"testing"

	"github.com/mailferry/mailferry/shared/mailbox/fts/compose"
)

func TestEntriesAreShownOneByOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	w.add("contacts", compose.Contact(compose.ContactOptions{Given: "Zoe", Surname: "Cole", Email: "zoe@ext.test", Business: "1", Home: "2", City: "Bonn", Street: "Weg 1"}))
	list := func(uri, index string) answer {
		path := `<t:IndexedFieldURI FieldURI="` + uri + `" FieldIndex="` + index + `"/>`
		return w.ask(strings.Replace(find("contacts", ""), `<t:FieldURI FieldURI="item:Subject"/>`, path, 1))
	}
	list("contacts:EmailAddress", "EmailAddress1").is("NoError").eq("Entry", "zoe@ext.test")
	list("contacts:EmailAddress", "EmailAddress2").is("NoError").eq("Entry", "")
	list("contacts:PhoneNumber", "HomePhone").is("NoError").eq("Entry", "2")
	list("contacts:PhysicalAddress:City", "Business").is("NoError").eq("City", "Bonn").eq("Street", "")
	list("contacts:PhysicalAddress:City", "Home").is("NoError").eq("City", "")
	list("contacts:City", "Home").is("ErrorSchemaValidation")
	all := strings.Replace(find("contacts", ""), `<t:BaseShape>IdOnly`, `<t:BaseShape>AllProperties`, 1)
	w.ask(all).is("NoError").eq("Surname", "Cole").eq("PostalCode", "")
}

func TestOneHeaderOfMany(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	it := w.mail("inbox", "x", 7)
	w.ask(`<m:GetItem><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape><t:AdditionalProperties><t:IndexedFieldURI FieldURI="item:InternetMessageHeader" FieldIndex="message-id"/></t:AdditionalProperties></m:ItemShape>`+itemIDs(w.m, it)+`</m:GetItem>`).
		is("NoError").eq("InternetMessageHeader", "<m7@corp.test>")
}
