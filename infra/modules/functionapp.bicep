metadata name = 'Function app'
metadata description = 'The custom handler on Flex Consumption, and its settings: shared/config says what each is for.'

@description('Required. Its name, unique in the world.')
param name string

@description('Required. Region.')
param location string

@description('Optional. Tags.')
param tags object = {}

@description('Required. Resource ID of the managed identity.')
param identityId string

@description('Required. Client ID of the managed identity.')
param clientId string

@description('Required. Name of the storage account.')
param storageName string

@description('Required. Address of the blobs.')
param blobUri string

@description('Required. Address of the tables.')
param tableUri string

@description('Required. Host name of the Service Bus namespace.')
param serviceBusHost string

@description('Required. What the address of a secret begins with.')
param secretsUri string

@description('Required. Where telemetry goes.')
param insightsConnection string

@description('Required. Resource ID of the workspace that keeps metrics, for the cost tiles.')
param workspaceId string

@description('Required. Resource ID of the subnet that instances join. Empty: none.')
param subnetId string

@description('Required. Memory of one instance in MB.')
param instanceMemory int

@description('Required. Most instances per function.')
param maximumInstances int

@description('Required. Instances that are always there: a list of {name, instanceCount}.')
param alwaysReady array

@description('Required. Recreate or RollingUpdate.')
param updateStrategy string

@description('Required. Address ranges that may call the HTTP functions. Empty: any.')
param allowedAddresses array

@description('Required. Client ID of the app registration for Entra sign-in. Empty: no sign-in.')
param signInClientId string

@description('Required. The on-premises Exchange: url, auth, user, concurrency.')
param ews object

@description('Required. How much of an item is compared.')
param verify string

@description('Required. What is logged.')
param logLevel string

@description('Required. Where spans and metrics go by OTLP. Empty: nowhere, log lines only.')
param otlpEndpoint string

resource plan 'Microsoft.Web/serverfarms@2025-03-01' = {
  name: 'plan-${name}'
  location: location
  tags: tags
  kind: 'functionapp'
  sku: { name: 'FC1', tier: 'FlexConsumption' }
  properties: { reserved: true }
}

resource app 'Microsoft.Web/sites@2025-03-01' = {
  name: name
  location: location
  tags: tags
  kind: 'functionapp,linux'
  identity: { type: 'UserAssigned', userAssignedIdentities: { '${identityId}': {} } }
  properties: {
    serverFarmId: plan.id
    reserved: true
    httpsOnly: true
    keyVaultReferenceIdentity: identityId
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    siteConfig: {
      minTlsVersion: '1.2'
      http20Enabled: true
      ipSecurityRestrictionsDefaultAction: empty(allowedAddresses) ? 'Allow' : 'Deny'
      ipSecurityRestrictions: [
        for (range, i) in allowedAddresses: {
          name: 'allowed-${i}'
          priority: 100 + i
          action: 'Allow'
          ipAddress: range
        }
      ]
    }
    functionAppConfig: {
      runtime: { name: 'custom', version: '1.0' }
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${blobUri}packages'
          authentication: { type: 'UserAssignedIdentity', userAssignedIdentityResourceId: identityId }
        }
      }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMemory
        maximumInstanceCount: maximumInstances
        alwaysReady: alwaysReady
      }
      #disable-next-line BCP037 // not in the published types yet
      siteUpdateStrategy: { type: updateStrategy }
    }
  }

  // Publishing needs an Entra sign-in, never a password.
  resource scmPasswords 'basicPublishingCredentialsPolicies' = {
    name: 'scm'
    properties: { allow: false }
  }

  resource ftpPasswords 'basicPublishingCredentialsPolicies' = {
    name: 'ftp'
    properties: { allow: false }
  }

  resource settings 'config' = {
    name: 'appsettings'
    properties: {
      // The Functions host.
      AzureWebJobsStorage__accountName: storageName
      AzureWebJobsStorage__credential: 'managedidentity'
      AzureWebJobsStorage__clientId: clientId
      APPLICATIONINSIGHTS_CONNECTION_STRING: insightsConnection
      APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'Authorization=AAD;ClientId=${clientId}'
      // The Go runtime: collect garbage harder before the instance is full.
      GOMEMLIMIT: '${instanceMemory * 85 / 100}MiB'
      // The triggers and the handler.
      ServiceBusConnection__fullyQualifiedNamespace: serviceBusHost
      ServiceBusConnection__credential: 'managedidentity'
      ServiceBusConnection__clientId: clientId
      // The handler.
      AZURE_CLIENT_ID: clientId
      StorageConnection__blobServiceUri: blobUri
      StorageConnection__tableServiceUri: tableUri
      EWS_URL: ews.url
      EWS_AUTH: ews.auth
      EWS_USER: ews.user
      EWS_PASSWORD: empty(ews.user) ? '' : '@Microsoft.KeyVault(SecretUri=${secretsUri}/ews-password)'
      EWS_ACCOUNTS: empty(ews.user) ? '@Microsoft.KeyVault(SecretUri=${secretsUri}/ews-accounts)' : ''
      EWS_CONCURRENCY: string(ews.concurrency)
      GRAPH_URL: 'https://graph.microsoft.com/v1.0'
      VERIFY: verify
      COPY_BUDGET: '25m' // below host.json's functionTimeout, so that a delivery ends by itself
      COPY_DOUBT: '5m'
      COPY_MEMORY: string(instanceMemory * 1024 * 1024 / 8) // bytes of items in memory at once
      LOG_LEVEL: logLevel
      HTTP_AUTH: empty(signInClientId) ? 'key' : 'entra' // entra checks app roles, and only makes sense with signIn below
      OTEL_EXPORTER_OTLP_ENDPOINT: otlpEndpoint
      RECEIPT_KEY: '@Microsoft.KeyVault(SecretUri=${secretsUri}/receipt-key)'
    }
  }

  // Entra sign-in before a request reaches the app, in addition to the function key. A token is checked, none is
  // fetched, so the registration needs no secret.
  resource signIn 'config' = if (!empty(signInClientId)) {
    name: 'authsettingsV2'
    properties: {
      platform: { enabled: true }
      globalValidation: { requireAuthentication: true, unauthenticatedClientAction: 'Return401' }
      httpSettings: { requireHttps: true }
      login: { tokenStore: { enabled: false } }
      identityProviders: {
        azureActiveDirectory: {
          enabled: true
          registration: {
            openIdIssuer: '${environment().authentication.loginEndpoint}${tenant().tenantId}/v2.0'
            clientId: signInClientId
          }
          validation: { allowedAudiences: [signInClientId, 'api://${signInClientId}'] }
        }
      }
    }
  }
}

resource metrics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'metrics'
  scope: app
  properties: {
    workspaceId: workspaceId
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

@description('Resource ID.')
output id string = app.id

@description('Name.')
output name string = app.name

@description('Where the HTTP functions are.')
output url string = 'https://${app.properties.defaultHostName}'
