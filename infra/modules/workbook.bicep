metadata name = 'Workbook'
metadata description = 'The page that operators look at: workbook.json with this deployment\'s resources filled in.'

@description('Required. What it is called.')
param name string

@description('Required. Region.')
param location string

@description('Optional. Tags.')
param tags object = {}

@description('Required. Resource ID of the Log Analytics workspace.')
param workspaceId string

@description('Required. Resource ID of Application Insights.')
param insightsId string

@description('Required. Resource ID of the Service Bus namespace.')
param serviceBusId string

@description('Required. Resource ID of the function app.')
param appId string

@description('Required. Price of one GB-second.')
param gigabyteSecondPrice string

var places = {
  WORKSPACE_ID: workspaceId
  INSIGHTS_ID: insightsId
  SERVICEBUS_ID: serviceBusId
  APP_ID: appId
  GIGABYTE_SECOND_PRICE: gigabyteSecondPrice
}

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(insightsId, 'workbook')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: 'Mailferry ${name}'
    category: 'workbook'
    version: '1.0'
    sourceId: toLower(insightsId)
    serializedData: reduce(
      items(places),
      loadTextContent('../workbook.json'),
      (text, place) => replace(text, '%${place.key}%', place.value)
    )
  }
}

@description('Resource ID.')
output id string = workbook.id
