{{/* The Shop's name, refused here with the reason instead of by the API server after other charts were applied. */}}
{{- define "shop.name" -}}
{{- $name := default .Release.Name .Values.name -}}
{{- if or (gt (len $name) 40) (not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name)) -}}
{{- fail (printf "%q cannot name a Shop: at most 40 lower case letters, digits and '-', beginning with a letter. Set `name`." $name) -}}
{{- end -}}
{{- $name -}}
{{- end -}}
