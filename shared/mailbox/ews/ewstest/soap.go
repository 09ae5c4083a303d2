package ewstest

import (
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/mailferry/mailferry/shared/mailbox/exchangetest"
)

// call is one request on its way through the server.
type call struct {
	s        *Server
	r        *http.Request
	account  *account
	as       *exchangetest.Mailbox // the mailbox acted as: impersonated or the account's own; nil when it has none
	asOther  bool                  // impersonating
	version  int                   // index into versions
	op       *element
	w        *writer
	findCost int
}

// versions of the schema in order of age, as RequestServerVersion names them.
const versions = "Exchange2007 Exchange2007_SP1 Exchange2009 Exchange2010 Exchange2010_SP1 Exchange2010_SP2 Exchange2012 Exchange2013 " +
	"Exchange2013_SP1 Exchange2015 Exchange2016 V2015_10_05 V2016_01_06 V2016_04_13 V2016_07_13 V2016_10_10 V2017_01_07 V2017_04_14 V2017_07_11"

// otherOperations are those of Exchange 2016 that are not simulated, by the element of their request.
const otherOperations = "AddDelegate AddDistributionGroupToImList AddImContactToGroup AddImGroup AddNewImContactToGroup " +
	"AddNewTelUriContactToGroup ApplyConversationAction ArchiveItem CreateFolderPath CreateManagedFolder CreateUserConfiguration " +
	"DeleteUserConfiguration DisableApp DisconnectPhoneCall ExpandDL FindConversation FindMessageTrackingReport FindPeople " +
	"GetAppManifests GetAppMarketplaceUrl GetClientAccessToken GetConversationItems GetDiscoverySearchConfiguration GetEvents " +
	"GetHoldOnMailboxes GetImItemList GetImItems GetInboxRules GetMailTips GetMessageTrackingReport GetNonIndexableItemDetails " +
	"GetNonIndexableItemStatistics GetPasswordExpirationDate GetPersona GetPhoneCallInformation GetRoomLists GetRooms " +
	"GetSearchableMailboxes GetServiceConfiguration GetSharingFolder GetSharingMetadata GetStreamingEvents GetUserAvailabilityRequest " +
	"GetUserOofSettingsRequest GetUserPhoto GetUserRetentionPolicyTags InstallApp MarkAllItemsAsRead MarkAsJunk PlayOnPhone " +
	"RefreshSharingFolder RemoveContactFromImList RemoveDelegate RemoveDistributionGroupFromImList RemoveImContactFromGroup " +
	"RemoveImGroup SearchMailboxes SendItem SetHoldOnMailboxes SetImGroup SetImListMigrationCompleted SetTeamMailbox " +
	"SetUserOofSettingsRequest SetUserPhoto Subscribe UninstallApp UnpinTeamMailbox Unsubscribe UpdateDelegate UpdateInboxRules " +
	"UpdateItemInRecoverableItems UpdateUserConfiguration"

func versionIndex(name string) int {
	for i, v := range strings.Fields(versions) {
		if v == name {
			return i
		}
	}
	return -1
}

func (c *call) since(version string) bool { return c.version >= versionIndex(version) }

// fault is a SOAP fault: the whole request failed.
type fault struct {
	code, text string
	xml        [][2]string // t:Value pairs of MessageXml
	violation  *violation
}

func (f *fault) Error() string { return f.code }

func newFault(code string) *fault { return &fault{code: code, text: textOf(code)} }

func schemaFault(v *violation) *fault {
	return &fault{code: "ErrorSchemaValidation", text: "The request failed schema validation: " + v.text, violation: v}
}

// problem is an error of one response message.
type problem struct {
	code    string
	text    string
	xml     [][2]string
	warning bool
}

func (p *problem) Error() string { return p.code }

func newProblem(code string) *problem { return &problem{code: code, text: textOf(code)} }

// operation writes its whole response message set, or returns a fault before it has written anything.
type operation func(*call) *fault

func (s *Server) soap(w http.ResponseWriter, r *http.Request, a *account) {
	c := &call{s: s, r: r, account: a}
	c.w = newWriter(w, func() {
		w.Header().Set("Content-Type", "text/xml; charset=utf-8")
		c.head()
	})
	f := c.serve(w)
	if f != nil {
		c.fail(w, f)
		return
	}
	if c.w.begun {
		c.w.raw("</s:Body></s:Envelope>")
	}
	_ = c.w.b.Flush()
}

// serve runs the operation with its throttling and its faults.
func (c *call) serve(w http.ResponseWriter) *fault {
	root, f := c.read()
	if f != nil {
		return f
	}
	if f := c.envelope(root); f != nil {
		return f
	}
	name := c.op.name.Local
	c.s.count(name)
	if f := c.s.admit(c.account); f != nil {
		return f
	}
	defer c.s.leave(c, c.s.o.Clock.Now())
	if f := c.header(root.child("Header")); f != nil {
		return f
	}
	if f := c.s.interfere(c, w); f != nil {
		return f
	}
	return c.run(name)
}

// run turns a defect of the simulator into the answer that Exchange gives for one of its own.
func (c *call) run(name string) (f *fault) {
	defer func() {
		switch p := recover(); {
		case p == http.ErrAbortHandler:
			panic(p)
		case p != nil:
			c.s.o.Log.Error("operation failed", "operation", name, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			f = newFault("ErrorInternalServerError")
		}
	}()
	return c.s.operations[name](c)
}

func (c *call) read() (*element, *fault) {
	root, err := decodeXML(io.LimitReader(c.r.Body, c.s.o.MaxRequest))
	if err != nil {
		return nil, schemaFault(&violation{text: err.Error(), line: 1, col: 1})
	}
	return root, nil
}

// envelope finds the operation and validates it.
func (c *call) envelope(root *element) *fault {
	if root.name.Space != nsSOAP || root.name.Local != "Envelope" {
		return newFault("ErrorInvalidRequest")
	}
	body := root.child("Body")
	if body == nil || len(body.kids) != 1 {
		return newFault("ErrorInvalidRequest")
	}
	c.op = body.kids[0]
	name := c.op.name.Local
	_, ok := c.s.operations[name]
	if !ok && c.op.name.Space == nsMessages && slices.Contains(strings.Fields(otherOperations), name) {
		return &fault{code: "ErrorInvalidOperation", text: "The operation " + name + " is not simulated."}
	}
	if !ok || c.op.name.Space != nsMessages {
		return schemaFault(&violation{"Could not find schema information for the element '" + c.op.name.Space + ":" + name + "'.", c.op.line, c.op.col})
	}
	if v := c.s.schema.check(c.op); v != nil {
		return schemaFault(v)
	}
	return nil
}

// header reads what the request says about itself and who it acts as.
func (c *call) header(h *element) *fault {
	if v := h.child("RequestServerVersion"); v != nil {
		if c.version = versionIndex(v.attr("Version")); c.version < 0 {
			return newFault("ErrorInvalidServerVersion")
		}
	}
	if name := c.op.name.Local; (name == "ExportItems" || name == "UploadItems") && !c.since("Exchange2010_SP1") {
		return schemaFault(&violation{"The element '" + name + "' is not part of the schema of the requested version.", c.op.line, c.op.col})
	}
	if imp := h.child("ExchangeImpersonation"); imp != nil {
		return c.impersonate(imp)
	}
	c.as = c.s.mailbox(c.account.mailbox)
	return nil
}

func (c *call) impersonate(imp *element) *fault {
	sid := imp.child("ConnectingSID")
	if sid == nil || len(sid.kids) != 1 {
		return newFault("ErrorInvalidExchangeImpersonationHeaderData")
	}
	who := sid.kids[0]
	m := c.s.mailbox(who.value())
	if who.name.Local == "SID" {
		m = c.s.bySID(who.value())
	}
	switch {
	case m == nil && c.s.alias(who.value()) != nil && who.name.Local != "SID":
		m = c.s.alias(who.value())
		if who.name.Local == "PrimarySmtpAddress" {
			f := newFault("ErrorNonPrimarySmtpAddress")
			f.xml = [][2]string{{"Primary", m.Address}}
			return f
		}
	case m == nil && who.name.Local == "SID":
		return newFault("ErrorInvalidUserSid")
	case m == nil && who.name.Local == "PrincipalName":
		return newFault("ErrorInvalidUserPrincipalName")
	case m == nil:
		return newFault("ErrorNonExistentMailbox")
	}
	if !c.account.mayImpersonate(m.Address) {
		return newFault("ErrorImpersonateUserDenied")
	}
	c.as, c.asOther = m, true
	return nil
}

// head writes the envelope up to the body.
func (c *call) head() {
	b := c.s.o.Build
	_, _ = fmt.Fprintf(c.w.b, `<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="%s"><s:Header><h:ServerVersionInfo MajorVersion="%d" MinorVersion="%d" `+
		`MajorBuildNumber="%d" MinorBuildNumber="%d" Version="V2017_07_11" xmlns:h="%s" xmlns="%s" `+
		`xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"/></s:Header>`+
		`<s:Body xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xsd="http://www.w3.org/2001/XMLSchema">`,
		nsSOAP, b.Major, b.Minor, b.Build, b.Revision, nsTypes, nsTypes)
}

// fail answers with a SOAP fault. Once an answer has begun all that is left is to cut the connection.
func (c *call) fail(w http.ResponseWriter, f *fault) {
	if c.w.begun {
		panic(http.ErrAbortHandler)
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(c.r.Body, 128<<20))
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	w.WriteHeader(http.StatusInternalServerError)
	o := newWriter(w, func() {})
	o.open("s:Envelope", "xmlns:s", nsSOAP)
	o.open("s:Body")
	o.open("s:Fault")
	o.text("faultcode", "a:"+f.code, "xmlns:a", nsTypes)
	o.text("faultstring", f.text, "xml:lang", "en-US")
	o.open("detail")
	o.text("e:ResponseCode", f.code, "xmlns:e", nsErrors)
	o.text("e:Message", message(f), "xmlns:e", nsErrors)
	f.details(o)
	for _, n := range []string{"detail", "s:Fault", "s:Body", "s:Envelope"} {
		o.close(n)
	}
	_ = o.b.Flush()
}

func message(f *fault) string {
	if f.violation != nil {
		return "The request failed schema validation."
	}
	return f.text
}

func (f *fault) details(o *writer) {
	if f.violation == nil && len(f.xml) == 0 {
		return
	}
	o.open("t:MessageXml", "xmlns:t", nsTypes)
	if v := f.violation; v != nil {
		o.num("t:LineNumber", v.line)
		o.num("t:LinePosition", v.col)
		o.text("t:Violation", v.text)
	}
	for _, kv := range f.xml {
		o.text("t:Value", kv[1], "Name", kv[0])
	}
	o.close("t:MessageXml")
}

// respond writes <op>Response with its messages.
func (c *call) respond(messages func()) *fault {
	name := "m:" + c.op.name.Local + "Response"
	c.w.open(name, "xmlns:m", nsMessages, "xmlns:t", nsTypes)
	c.w.open("m:ResponseMessages")
	messages()
	c.w.close("m:ResponseMessages")
	c.w.close(name)
	return nil
}

// success writes one response message; body writes what follows the response code.
func (c *call) success(body func()) {
	name := "m:" + c.op.name.Local + "ResponseMessage"
	c.w.open(name, "ResponseClass", "Success")
	c.w.text("m:ResponseCode", "NoError")
	if body != nil {
		body()
	}
	c.w.close(name)
}

// refuse writes one response message that is an error. Those that inherit from a message with required content get
// it empty, as Exchange has it.
func (c *call) refuse(p *problem, body func()) {
	name, class := "m:"+c.op.name.Local+"ResponseMessage", "Error"
	if p.warning {
		class = "Warning"
	}
	c.w.open(name, "ResponseClass", class)
	c.w.text("m:MessageText", p.text)
	c.w.text("m:ResponseCode", p.code)
	c.w.text("m:DescriptiveLinkKey", "0")
	if len(p.xml) > 0 {
		c.w.open("m:MessageXml")
		for _, kv := range p.xml {
			c.w.text("t:Value", kv[1], "Name", kv[0])
		}
		c.w.close("m:MessageXml")
	}
	if body != nil {
		body()
	}
	c.w.close(name)
}

func (c *call) emptyItems()   { c.w.empty("m:Items") }
func (c *call) emptyFolders() { c.w.empty("m:Folders") }

func decimal(s string) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil
}
