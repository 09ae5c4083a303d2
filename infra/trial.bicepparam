using './main.bicep'

// A trial: Standard Service Bus, public endpoints with managed identity, one zone. Copy it, fill in what is marked, and
// deploy with ./scripts/deploy --parameters YOUR-COPY.bicepparam. Secrets are read from the environment, never written here.

param name = 'ferrytrial' // fill in: 3 to 11 lower-case letters and digits
param ewsUrl = 'https://mail.example.org/EWS/Exchange.asmx' // fill in
param ewsUser = 'CORP\\svc-mailferry' // fill in
param ewsPassword = readEnvironmentVariable('MAILFERRY_EWS_PASSWORD', '')
param receiptKey = readEnvironmentVariable('MAILFERRY_RECEIPT_KEY', '')

param verify = 'full'
param maximumInstances = 10
param serviceBusSku = 'Standard'
param private = false
param alertEmails = []
